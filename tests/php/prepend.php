<?php

// This file is prepended to every script that the tests run. It loads and configures Debian's packages as a
// Laravel application would. The queue driver is a stand-in (driver.php), because Debian does not package it.

// Laravel's env() needs a package that is not installed.
function env(string $name, mixed $default = null): mixed
{
    $value = getenv($name);

    return $value === false ? $default : $value;
}

foreach (['Queue', 'Database', 'Events', 'Encryption', 'Http'] as $part) {
    require_once "Illuminate/$part/autoload.php";
}
require_once 'GuzzleHttp/autoload.php';
require_once 'PhpAmqpLib/autoload.php';
require_once __DIR__.'/driver.php';

// The application's own classes: App\X\Y is in app/X/Y.php below the working directory.
spl_autoload_register(function (string $class): void {
    $file = getcwd().'/app/'.str_replace('\\', '/', substr($class, 4)).'.php';
    if (str_starts_with($class, 'App\\') && is_file($file)) {
        require $file;
    }
});

$app = new Illuminate\Container\Container;
Illuminate\Container\Container::setInstance($app);
Illuminate\Support\Facades\Facade::setFacadeApplication($app);
$app->instance(Illuminate\Contracts\Events\Dispatcher::class, new Illuminate\Events\Dispatcher($app));
$app->instance(Illuminate\Http\Client\Factory::class, new Illuminate\Http\Client\Factory);

if (is_file('config/queue.php')) {
    $queue = new Illuminate\Queue\Capsule\Manager($app);
    $driver = getenv('RABBITMQ_WORKER') === 'horizon' ? Driver\HorizonQueue::class : Driver\RabbitMQQueue::class;
    $queue->getQueueManager()->addConnector('rabbitmq', fn () => new Driver\Connector($driver));
    foreach ((require 'config/queue.php')['connections'] as $name => $connection) {
        $queue->addConnection($connection, $name);
    }
    $app->instance('queue', $queue->getQueueManager());
}

if (getenv('DB_CONNECTION')) {
    $database = new Illuminate\Database\Capsule\Manager($app);
    $database->addConnection([
        'driver' => getenv('DB_CONNECTION'),
        'host' => getenv('DB_HOST'),
        'port' => getenv('DB_PORT'),
        'database' => getenv('DB_DATABASE'),
        'username' => getenv('DB_USERNAME'),
        'password' => getenv('DB_PASSWORD'),
        'foreign_key_constraints' => true,
    ]);
    $transactions = new Illuminate\Database\DatabaseTransactionsManager;
    $app->instance('db.transactions', $transactions);
    $database->getConnection()->setTransactionManager($transactions);
    $database->bootEloquent();
    $app->instance('db', $database->getDatabaseManager());
    $app->instance(Illuminate\Database\ConnectionInterface::class, $database->getConnection());
}
