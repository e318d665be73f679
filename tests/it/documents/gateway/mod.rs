//! Tests docs/gateway.md, the gateway's side, with real PHP, Laravel's own queue and database code,
//! php-amqplib, real brokers and real databases.
//!
//! Laravel's driver for RabbitMQ and Horizon are stand-ins, written after their source
//! (tests/php/driver.php), because Debian packages neither.

mod php;
mod snippets;

mod broker_killed;
mod models;
mod outbox;
mod publisher;
mod ten_minutes;
mod ways_to_publish;
