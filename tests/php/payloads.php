<?php

// Publishes (or with ONLY_PRINT=1 prints) Laravel's payload of an event: php payloads.php KIND < event.json

namespace App\Jobs;

use Illuminate\Contracts\Encryption\Encrypter as EncrypterContract;
use Illuminate\Contracts\Queue\ShouldBeEncrypted;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Encryption\Encrypter;
use Illuminate\Support\Facades\Queue;

class AssignStaff implements ShouldQueue
{
    public int $tries = 5;

    public function __construct(public array $event, protected int $companyId = 15, private ?string $note = null) {}
}

class AssignStaffSecretly extends AssignStaff implements ShouldBeEncrypted {}

$app->instance(EncrypterContract::class, new Encrypter(str_repeat('k', 32), 'AES-256-CBC'));
$event = json_decode(file_get_contents('php://stdin'), true);
$queue = Queue::connection('hostmatch');
$queue->setContainer($app);
$type = $event['event'] ?? $event['triggerEvent'] ?? $event['type'];

match ($argv[1]) {
    'string-job' => $queue->push($type, $event, $type),
    'raw' => $queue->pushRaw(json_encode($event), $type),
    'later' => $queue->later((float) $argv[2], $type, $event, $type),
    // Acts like a PHP worker that was started on our queue by mistake: php artisan queue:work.
    'released' => $queue->laterRaw((float) $argv[2], file_get_contents($argv[3]), $type, 1),
    'object-job' => $queue->push(new AssignStaff($event), '', $type),
    'encrypted-job' => $queue->push(new AssignStaffSecretly($event), '', $type),
    'encoded-twice' => $queue->push($type, json_encode($event), $type),
    'nothing' => $queue->push($type, '', $type),
};
