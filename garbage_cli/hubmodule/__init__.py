"""A bundle → a module that the real PaddleHub installs, runs and serves, with the answers of `garbage serve`.

Knows PaddleHub's folders and what it asks of a module. Does not import PaddleHub: only the written `module.py` does.
"""

from garbage_cli.engines.choosing import hub_wish as wish_for
from garbage_cli.hubmodule.answers import HubAnswers
from garbage_cli.hubmodule.serving import serve_with_hub
from garbage_cli.hubmodule.writing import INFERENCE, MODULE, write_hub_module

__all__ = ["INFERENCE", "MODULE", "HubAnswers", "serve_with_hub", "wish_for", "write_hub_module"]
