"""What KServe's image of its storage initializer does with its arguments, URI FOLDER [URI FOLDER …]."""

import sys
from pathlib import Path

from kserve_storage import Storage  # type: ignore[import-not-found]  # only its image has it
from kserve_storage.logging import configure_logging  # type: ignore[import-not-found]

configure_logging()
for folder in sys.argv[2::2]:
    Path(folder).mkdir(parents=True, exist_ok=True)
Storage.download_files(sys.argv[1::2], sys.argv[2::2])
