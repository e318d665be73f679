<?php

// The document's event as JSON.

echo json_encode(require 'event.php', JSON_THROW_ON_ERROR);
