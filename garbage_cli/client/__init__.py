"""Photos → answers from a running server, in order: `garbage serve`, or the real PaddleHub.

Knows URLs, time-outs, retries, reply statuses and what a PaddleHub's class numbers mean. Does not know models: it sends
the files as they are.
"""

from garbage_cli.client.addresses import DEFAULT_URL
from garbage_cli.client.asking import PROTOCOLS, Client
from garbage_cli.client.labelling import read_labels
from garbage_cli.client.pace import Summary
from garbage_cli.client.secrets import read_api_key

__all__ = ["DEFAULT_URL", "PROTOCOLS", "Client", "Summary", "read_api_key", "read_labels"]
