<?php

// The outbox, step by step: php outbox.php up|"by HTTP"|down

use App\Hostmatch\Connect;
use App\Hostmatch\Edge;
use App\Hostmatch\Outbox;
use App\Hostmatch\Publisher;
use Illuminate\Http\Client\Factory;
use Illuminate\Support\Facades\DB;

$migration = require 'database/migrations/2026_03_01_000000_create_hostmatch_outbox.php';
$rows = fn () => DB::table('hostmatch_outbox')->count();
$event = fn (string $id, string $type = 'call.noted') => ['event' => $type, 'event_id' => $id];
$say = function (callable $act): string {
    try {
        return (string) $act();
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
    echo json_encode(['published' => $outbox->publish(), 'left' => $rows()]);
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
$said['rolled back'] = $rows();
DB::transaction(fn () => [$outbox->add($event('one')), $outbox->add($event('one'))]);
$said['added twice'] = $rows();
$said['inside the transaction'] = $say(fn () => DB::transaction(fn () => $outbox->publish()));
$away = new Outbox(DB::connection(), new Publisher(fn () => throw new RuntimeException('connection refused')));
$said['broker away'] = $say(fn () => $away->publish());
$said['kept'] = $rows();
// An event with a routing key that AMQP cannot transmit, before other events.
$outbox->add($event('never', str_repeat('x', 256)));
foreach (range(2, 60) as $number) {
    $outbox->add($event("number-$number"));
}
$said['with an event that is never accepted'] = $say(fn () => $outbox->publish());
$said['left'] = $rows();
$said['published'] = 61 - $rows();
DB::table('hostmatch_outbox')->delete();
$said['and then'] = (int) $say(fn () => $outbox->publish());
echo json_encode($said, JSON_THROW_ON_ERROR);
