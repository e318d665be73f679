<?php

// Prints the publisher's result in each case as JSON: php publisher.php PREFIX

use App\Hostmatch\Connect;
use App\Hostmatch\Publisher;
use PhpAmqpLib\Wire\AMQPTable;

$prefix = $argv[1];
$connect = (new Connect)(...);
$event = fn (string $id) => ['event' => 'appointment.created', 'event_id' => $id, 'price' => 1.0, 'name' => 'Zoë/Ö'];
$result_of = function (callable $action): string {
    try {
        $action();

        return 'published';
    } catch (Throwable $problem) {
        return (new ReflectionClass($problem))->getShortName().': '.$problem->getMessage();
    }
};

$admin = $connect()->channel();
$results['missing exchange'] = $result_of(fn () => (new Publisher($connect, "$prefix.none"))->publish($event('e-0')));
$admin->exchange_declare($prefix, 'topic', false, false, true);
$publisher = new Publisher($connect, $prefix);
$results['no queue'] = $result_of(fn () => $publisher->publish($event('e-1')));
$admin->queue_declare("$prefix.full", false, false, true, false, false, new AMQPTable([
    'x-max-length' => 1, 'x-overflow' => 'reject-publish',
]));
$admin->queue_bind("$prefix.full", $prefix, '#');
$publisher->publish($event('e-3'));
$results['full queue'] = $result_of(fn () => $publisher->publish($event('e-2')));
$message = $admin->basic_get("$prefix.full", true);
$results['message'] = ['body' => $message->getBody()] + $message->get_properties();
$results['after a refusal'] = $result_of(fn () => $publisher->publish($event('e-2')));
$results['no id'] = $result_of(fn () => $publisher->publish(['event' => 'appointment.created']));
$results['no event at all'] = $result_of(fn () => $publisher->publish());
putenv('RABBITMQ_PORT=1');
$results['unreachable broker'] = $result_of(fn () => (new Publisher($connect, $prefix))->publish($event('e-4')));
echo json_encode($results, JSON_THROW_ON_ERROR);
