<?php

// A stand-in for the usual RabbitMQ driver of Laravel (vladimir-yuldashev/laravel-queue-rabbitmq), which
// Debian does not package. It follows the driver's source: Laravel's own code creates the payload, and
// php-amqplib publishes it as the driver would, with the same properties, no confirms, no message id, and
// the exchange declared only if it is missing.

namespace Driver;

use Illuminate\Contracts\Queue\Queue as QueueContract;
use Illuminate\Queue\Connectors\ConnectorInterface;
use Illuminate\Queue\Queue;
use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

class Connector implements ConnectorInterface
{
    public function __construct(private string $class) {}

    public function connect(array $config)
    {
        return new $this->class($config);
    }
}

class RabbitMQQueue extends Queue implements QueueContract
{
    protected ?AMQPChannel $channel = null;

    public function __construct(protected array $config)
    {
        $this->dispatchAfterCommit = $config['after_commit'] ?? false;
    }

    public function size($queue = null)
    {
        return 0;
    }

    public function pop($queue = null)
    {
        return null;
    }

    public function push($job, $data = '', $queue = null)
    {
        $payload = $this->createPayload($job, $this->name($queue), $data);

        return $this->enqueueUsing($job, $payload, $queue, null, fn ($payload, $queue) => $this->pushRaw($payload, $queue));
    }

    public function pushRaw($payload, $queue = null, array $options = [])
    {
        $this->send($payload, $this->exchange(), $this->key($queue), $options['attempts'] ?? 0);
    }

    public function later($delay, $job, $data = '', $queue = null)
    {
        $this->laterRaw($delay, $this->createPayload($job, $this->name($queue), $data), $queue);
    }

    /** Also called by release() of a job: the same body, with one more attempt. */
    public function laterRaw($delay, string $payload, $queue = null, int $attempts = 0): void
    {
        $milliseconds = (int) ($delay * 1000);
        $waiting = $this->name($queue).'.delay.'.$milliseconds;
        $this->channel()->queue_declare($waiting, false, true, false, false, false, new AMQPTable([
            'x-dead-letter-exchange' => $this->exchange(),
            'x-dead-letter-routing-key' => $this->key($queue),
            'x-message-ttl' => $milliseconds,
            'x-expires' => $milliseconds * 2 + 10000,
        ]));
        $this->send($payload, '', $waiting, $attempts);
    }

    protected function createPayloadArray($job, $queue, $data = '')
    {
        return array_merge(parent::createPayloadArray($job, $queue, $data), ['id' => (string) \Illuminate\Support\Str::uuid()]);
    }

    private function send(string $payload, string $exchange, string $key, int $attempts): void
    {
        if (getenv('ONLY_PRINT')) {
            echo $payload, "\n";

            return;
        }
        $properties = ['content_type' => 'application/json', 'delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT];
        if ($id = json_decode($payload, true)['id'] ?? null) {
            $properties['correlation_id'] = $id;
        }
        $message = new AMQPMessage($payload, $properties);
        $message->set('application_headers', new AMQPTable(['laravel' => ['attempts' => $attempts]]));
        $this->channel()->basic_publish($message, $exchange, $key, true);
        // The script may end immediately: closing waits until the broker has received everything.
        $this->channel()->getConnection()->close();
        $this->channel = null;
    }

    private function channel(): AMQPChannel
    {
        if ($this->channel === null) {
            $host = $this->config['hosts'][0];
            $connection = new AMQPStreamConnection($host['host'], $host['port'], $host['user'], $host['password'], $host['vhost']);
            $this->channel = $connection->channel();
            if (! $this->exists($connection, $this->exchange())) {
                $this->channel->exchange_declare($this->exchange(), $this->option('exchange_type'), false, true, false);
            }
        }

        return $this->channel;
    }

    private function exists($connection, string $exchange): bool
    {
        try {
            $channel = $connection->channel();
            $channel->exchange_declare($exchange, '', true);
            $channel->close();

            return true;
        } catch (AMQPProtocolChannelException) {
            return false;
        }
    }

    private function name(?string $queue): string
    {
        return $queue ?: $this->config['queue'];
    }

    private function key(?string $queue): string
    {
        return ltrim(sprintf($this->option('exchange_routing_key'), $this->name($queue)), '.');
    }

    private function exchange(): string
    {
        return $this->option('exchange');
    }

    private function option(string $name): string
    {
        return $this->config['options']['queue'][$name];
    }
}

/** The driver with Horizon: it rewrites every payload, and later() loses its data. */
class HorizonQueue extends RabbitMQQueue
{
    public function pushRaw($payload, $queue = null, array $options = [])
    {
        parent::pushRaw($this->prepare($payload), $queue, $options);
    }

    public function later($delay, $job, $data = '', $queue = null)
    {
        // Sic: as in Horizon's source, the data is passed as the queue's name.
        $this->laterRaw($delay, $this->prepare($this->createPayload($job, $data)), $queue);
    }

    private function prepare(string $payload): string
    {
        return json_encode(array_merge(json_decode($payload, true), [
            'type' => 'job',
            'tags' => [],
            'silenced' => false,
            'pushedAt' => str_replace(',', '.', (string) microtime(true)),
        ]));
    }
}
