"""What `benchmarks/serving.py` installs into PaddleHub: a module that does what PaddleClas 2.0's one did, and no more.

A photo comes in base64, OpenCV decodes and resizes it, Paddle Inference answers it, one photo at a time, in f32. Its
settings are those of that module: no word about threads, and oneDNN only where init_args ask for it. That must be said
today: Paddle 3 takes oneDNN where nothing is said, the Paddle of that module did not. One thing is better than there:
each process makes its own predictor, with its first photo, for PaddleHub makes the module first and forks then.
"""

import base64
import json
import os
import time
from pathlib import Path

import cv2
import numpy as np
from paddlehub.module.module import moduleinfo, serving

FACTS = "facts.json"
"""Where the model lies and how a photo is prepared for it."""


@moduleinfo(
    name="clas_system",
    version="1.0.0",
    type="cv/image_classification",
    author="garbage-cli",
    author_email="",
    summary="The baseline of benchmarks/serving.py.",
)
class ClasSystem:
    def _initialize(self, version=None, use_gpu=False, enable_mkldnn=False, cpu_num_threads=None):
        self.facts = json.loads(Path(__file__).with_name(FACTS).read_text(encoding="utf-8"))
        self.onednn, self.threads = enable_mkldnn, cpu_num_threads
        self.predictors = {}
        mean, std = (np.array(self.facts[key], np.float32) for key in ("mean", "std"))
        self.scale, self.shift = 1 / (255 * std), mean / std

    @serving
    def serving_method(self, images, top_k=1, **others):
        """Answer the body of POST /predict/clas_system."""
        return [self.answer(base64.b64decode(text), top_k) for text in images]

    def answer(self, photo, top_k):
        begun = time.time()
        scores = self.infer(self.prepare(photo))
        best = np.argsort(-scores)[:top_k]
        return [best.tolist(), scores[best].tolist(), time.time() - begun]

    def prepare(self, photo):
        image = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        height, width = image.shape[:2]
        by, crop = self.facts["resize_short"] / min(height, width), self.facts["crop"]
        image = cv2.resize(image, (round(width * by), round(height * by)))
        top, left = (image.shape[0] - crop) // 2, (image.shape[1] - crop) // 2
        image = image[top : top + crop, left : left + crop].astype(np.float32)
        return np.ascontiguousarray((image * self.scale - self.shift).transpose(2, 0, 1)[None], np.float32)

    def infer(self, values):
        predictor = self.predictors.get(os.getpid()) or self.open()
        given = predictor.get_input_handle(predictor.get_input_names()[0])
        given.reshape(values.shape)
        given.copy_from_cpu(values)
        predictor.run()
        return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()[0]

    def open(self):
        from paddle import inference

        config = inference.Config(self.facts["program"], self.facts["weights"])
        config.disable_gpu()
        config.disable_glog_info()
        if self.onednn:
            config.set_mkldnn_cache_capacity(10)
            config.enable_mkldnn()
        else:
            config.disable_mkldnn()
        if self.threads:
            config.set_cpu_math_library_num_threads(self.threads)
        self.predictors[os.getpid()] = inference.create_predictor(config)
        return self.predictors[os.getpid()]
