<?php

// Prints the outbox's result at each step as JSON: php outbox.php up|"by HTTP"|down

use App\Hostmatch\Connect;
use App\Hostmatch\Edge;
use App\Hostmatch\Outbox;
use App\Hostmatch\Publisher;
use Illuminate\Http\Client\Factory;
use Illuminate\Support\Facades\DB;

$migration = require 'database/migrations/2026_03_01_000000_create_hostmatch_outbox.php';
$rows = fn () => DB::table('hostmatch_outbox')->count();
$event = fn (string $id, string $type = 'call.noted') => ['event' => $type, 'event_id' => $id];
$result_of = function (callable $action): string {
    try {
        return (string) $action();
    } catch (Throwable $problem) {
        return (new ReflectionClass($problem))->getShortName();
    }
};
$publisher = new Publisher((new Connect)(...));

if ($argv[1] === 'down') {
    $migration->down();
    exit;
}
if ($argv[1] === 'by HTTP') {
    $outbox = new Outbox(DB::connection(), new Edge(new Factory, getenv('HOSTMATCH_EDGE'), 'none'));
    $outbox->add($event('by-http'));
    echo json_encode(['published' => $outbox->publish(), 'remaining' => $rows()]);
    exit;
}

$migration->up();
$outbox = new Outbox(DB::connection(), $publisher);
try {
    DB::transaction(function () use ($outbox, $event) {
        $outbox->add($event('rolled-back'));
        throw new RuntimeException;
    });
} catch (RuntimeException) {
}
$results['rolled back'] = $rows();
DB::transaction(fn () => [$outbox->add($event('one')), $outbox->add($event('one'))]);
$results['added twice'] = $rows();
$results['inside the transaction'] = $result_of(fn () => DB::transaction(fn () => $outbox->publish()));
$unreachable = new Outbox(DB::connection(), new Publisher(fn () => throw new RuntimeException('connection refused')));
$results['broker unreachable'] = $result_of(fn () => $unreachable->publish());
$results['kept'] = $rows();
// An event with a routing key that AMQP cannot transmit, before other events.
$outbox->add($event('unpublishable', str_repeat('x', 256)));
foreach (range(2, 60) as $number) {
    $outbox->add($event("e-$number"));
}
$results['with an event that is never accepted'] = $result_of(fn () => $outbox->publish());
$results['remaining'] = $rows();
$results['published'] = 61 - $rows();
DB::table('hostmatch_outbox')->delete();
$results['after its removal'] = (int) $result_of(fn () => $outbox->publish());
echo json_encode($results, JSON_THROW_ON_ERROR);
