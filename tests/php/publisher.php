<?php

// Prints the publisher's result in each case as JSON: php publisher.php PREFIX

use App\Hostmatch\Connect;
use App\Hostmatch\Publisher;
use PhpAmqpLib\Wire\AMQPTable;

$prefix = $argv[1];
$connect = (new Connect)(...);
$event = fn (string $id) => ['event' => 'appointment.created', 'event_id' => $id, 'price' => 1.0, 'name' => 'Zoë/Ö'];
$say = function (callable $act): string {
    try {
        $act();

        return 'published';
    } catch (Throwable $problem) {
        return (new ReflectionClass($problem))->getShortName().': '.$problem->getMessage();
    }
};

$admin = $connect()->channel();
$said['missing exchange'] = $say(fn () => (new Publisher($connect, "$prefix.none"))->publish($event('e-0')));
$admin->exchange_declare($prefix, 'topic', false, false, true);
$publisher = new Publisher($connect, $prefix);
$said['no queue'] = $say(fn () => $publisher->publish($event('e-1')));
$admin->queue_declare("$prefix.full", false, false, true, false, false, new AMQPTable([
    'x-max-length' => 1, 'x-overflow' => 'reject-publish',
]));
$admin->queue_bind("$prefix.full", $prefix, '#');
$publisher->publish($event('e-3'));
$said['full queue'] = $say(fn () => $publisher->publish($event('e-2')));
$message = $admin->basic_get("$prefix.full", true);
$said['message'] = ['body' => $message->getBody()] + $message->get_properties();
$said['after a refusal'] = $say(fn () => $publisher->publish($event('e-2')));
$said['no id'] = $say(fn () => $publisher->publish(['event' => 'appointment.created']));
$said['no event at all'] = $say(fn () => $publisher->publish());
putenv('RABBITMQ_PORT=1');
$said['unreachable broker'] = $say(fn () => (new Publisher($connect, $prefix))->publish($event('e-4')));
echo json_encode($said, JSON_THROW_ON_ERROR);
