"""All targets, by the names that the command line knows them by."""

from .message_targets import PARTS
from .request_targets import REQUESTS
from .upload_targets import UPLOADS
from .whole_targets import MESSAGES

TARGETS = {**PARTS, **MESSAGES, **REQUESTS, **UPLOADS}
