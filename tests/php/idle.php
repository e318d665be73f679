<?php

// Publishes, waits for a line, and publishes again with the same publisher: php idle.php EXCHANGE

use App\Hostmatch\Connect;
use App\Hostmatch\Publisher;

$admin = (new Connect)()->channel();
$admin->exchange_declare($argv[1], 'topic', false, false, true);
$admin->queue_declare("$argv[1].queue", false, false, false, true, false, new PhpAmqpLib\Wire\AMQPTable(['x-expires' => 60000]));
$admin->queue_bind("$argv[1].queue", $argv[1], '#');
$publisher = new Publisher((new Connect)(...), $argv[1]);
foreach (['e-1', 'e-2'] as $id) {
    $publisher->publish(['event' => 'appointment.created', 'event_id' => $id]);
    echo "published\n";
    if ($id === 'e-1') {
        fgets(STDIN);
    }
}
