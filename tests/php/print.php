<?php

// Prints the event of docs/gateway.md as JSON.

echo json_encode(require 'event.php', JSON_THROW_ON_ERROR);
