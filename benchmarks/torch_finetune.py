"""The same network fine-tuned whole in PyTorch, for `benchmarks/cpu_training.py` to compare with.

    python benchmarks/torch_finetune.py DATA WEIGHTS.pdparams --minutes 10 [--bf16] [--seed 0]

Needs torch and torchvision, which the project itself does not; run it in an environment of their own. DATA is a folder
with train.txt and validate.txt; WEIGHTS are those of PaddleClas's MobileNetV2. It prints one JSON line an epoch:
minutes since the start of the program (imports and loading included), and validation top-1.
"""

import argparse
import json
import pickle
import time
from pathlib import Path

STARTED = time.monotonic()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch import nn  # noqa: E402
from torchvision import transforms  # noqa: E402

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repetitions, first stride (Sandler et al. 2018, table 2)."""


def convolution(given: int, made: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(given, made, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(made)]


class Block(nn.Module):
    def __init__(self, given: int, made: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = given * expansion
        self.residual = stride == 1 and given == made
        self.layers = nn.Sequential(
            *convolution(given, inner, 1), nn.ReLU6(),
            *convolution(inner, inner, 3, stride, inner), nn.ReLU6(),
            *convolution(inner, made, 1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def mobilenet_v2(classes: int, weights: Path) -> nn.Module:
    layers: list[nn.Module] = [*convolution(3, 32, 3, 2), nn.ReLU6()]
    channels = 32
    for expansion, made, count, stride in BLOCKS:
        for number in range(count):
            layers.append(Block(channels, made, stride if number == 0 else 1, expansion))
            channels = made
    layers += [*convolution(channels, 1280, 1), nn.ReLU6()]
    body = nn.Sequential(*layers)
    load(body, weights)
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, classes))


def load(body: nn.Module, weights: Path) -> None:
    """Both files name the tensors in the order of the layers. The file is ours: a pickle of a stranger would not do."""
    with weights.open("rb") as file:
        theirs = [(k, v) for k, v in pickle.load(file).items() if k not in ("StructuredToParameterName@@",)]
    theirs = [value for name, value in theirs if not name.startswith("out")]
    own = {name: tensor for name, tensor in body.state_dict().items() if "num_batches" not in name}
    assert [tuple(tensor.shape) for tensor in own.values()] == [value.shape for value in theirs]
    filled = dict(zip(own, (torch.from_numpy(np.array(value)) for value in theirs), strict=True))
    body.load_state_dict(filled, strict=False)


class Photos(torch.utils.data.Dataset):
    def __init__(self, root: Path, name: str, transform: transforms.Compose) -> None:
        rows = [line.rsplit(" ", 1) for line in (root / name).read_text().splitlines() if line.strip()]
        self.rows = [(root / path, int(class_id)) for path, class_id in rows]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, class_id = self.rows[index]
        return self.transform(Image.open(path).convert("RGB")), class_id


def loaders(data: Path, size: int, batch: int) -> tuple[torch.utils.data.DataLoader, torch.utils.data.DataLoader]:
    ending = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    crop = transforms.RandomResizedCrop(size, scale=(0.35, 1.0))
    train = transforms.Compose([crop, transforms.RandomHorizontalFlip(), *ending])
    plain = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size), *ending])
    kind = torch.utils.data.DataLoader
    return (
        kind(
            Photos(data, "train.txt", train),
            batch,
            shuffle=True,
            drop_last=True,
            num_workers=2,
            persistent_workers=True,
        ),
        kind(Photos(data, "validate.txt", plain), batch, num_workers=2),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--minutes", type=float, default=10, help="the cosine ends here")
    parser.add_argument("--size", type=int, default=225)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    train, validation = loaders(options.data, options.size, options.batch)
    classes = max(class_id for _, class_id in train.dataset.rows) + 1
    network = mobilenet_v2(classes, options.weights).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), options.rate, momentum=0.9, weight_decay=1e-4)
    epoch = 0
    while spent() < options.minutes:
        epoch += 1
        train_epoch(network, train, optimizer, options)
        print(
            json.dumps({"epoch": epoch, "minutes": round(spent(), 3), "top1": evaluate(network, validation, options)}),
            flush=True,
        )


def spent() -> float:
    return (time.monotonic() - STARTED) / 60


def mixed(options: argparse.Namespace) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=options.bf16)


def train_epoch(network: nn.Module, batches, optimizer, options: argparse.Namespace) -> None:
    """One epoch, or until the time is up; the rate follows a cosine over the minutes."""
    network.train()
    for inputs, classes in batches:
        done = min(1.0, spent() / options.minutes)
        for group in optimizer.param_groups:
            group["lr"] = options.rate * 0.5 * (1 + np.cos(np.pi * done))
        with mixed(options):
            outputs = network(inputs.to(memory_format=torch.channels_last))
        loss = nn.functional.cross_entropy(outputs.float(), classes, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if done >= 1:
            return


def evaluate(network: nn.Module, batches, options: argparse.Namespace) -> float:
    network.eval()
    right = seen = 0
    with torch.no_grad(), mixed(options):
        for inputs, classes in batches:
            answers = network(inputs.to(memory_format=torch.channels_last)).argmax(dim=1)
            right += int((answers == classes).sum())
            seen += len(classes)
    return round(right / seen, 4)


if __name__ == "__main__":
    main()
