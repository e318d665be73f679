//! The closed list of what the doctor looks for. `docs/doctor.md` has the same list, made from this
//! one; `tests/it/documents.rs` compares them.

use serde::{Serialize, Serializer};

/// A part of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// Values that are legal and dangerous.
    Configuration,
    /// Files, folders and disks on this machine.
    Files,
    /// The gateway's database.
    Database,
    /// The broker, or the embedded queue.
    Broker,
    /// Exchange, queues, bindings and policies.
    Topology,
    /// An edge that runs somewhere else.
    Edge,
}

impl Area {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 6] =
        [Self::Configuration, Self::Files, Self::Database, Self::Broker, Self::Topology, Self::Edge];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Files => "files",
            Self::Database => "database",
            Self::Broker => "broker",
            Self::Topology => "topology",
            Self::Edge => "edge",
        }
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something does not work, or loses or exposes something.
    Error,
    /// Something works and will cause trouble.
    Warning,
}

impl Level {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! codes {
    ($($code:ident $name:literal $area:ident $level:ident $when:literal $remedy:literal)*) => {
        /// What the doctor looks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "when() says what each means")]
        pub enum Code { $($code),* }

        impl Code {
            /// All of them, area by area.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// Its name, stable.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$code => $name),* }
            }

            /// Where it belongs.
            pub fn area(self) -> Area {
                match self { $(Self::$code => Area::$area),* }
            }

            /// How much it matters.
            pub fn level(self) -> Level {
                match self { $(Self::$code => Level::$level),* }
            }

            /// When it is found.
            pub fn when(self) -> &'static str {
                match self { $(Self::$code => $when),* }
            }

            /// What to do about it, in general.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$code => $remedy),* }
            }
        }
    };
}

codes! {
    ConfigInvalid "config_invalid" Configuration Error
        "the configuration is refused; nothing else is looked at, and the exit code is 9"
        "correct the key that is named; `hostmatch config validate` checks again"
    EnvironmentNotRead "environment_not_read" Configuration Warning
        "a variable has one underscore where two belong, and is not read"
        "rename it as the finding says: `HOSTMATCH_<section>__<key>`"
    EdgeUnsigned "edge_unsigned" Configuration Error
        "`edge.allow_unsigned` is on, and `edge.listen` is not a loopback address: anybody can post events"
        "set `edge.allow_unsigned = false`; give the gateway a token (`hostmatch token create`) or a secret (`edge.gateway_secrets_file`)"
    EdgeRefusesAll "edge_refuses_all" Configuration Warning
        "the edge has no secret, key or token: it answers 401 to everybody"
        "set `edge.calcom_secrets_file`, `edge.gateway_secrets_file`, `edge.retell_api_keys_file` or `edge.tokens_file`; where no edge runs: `hostmatch doctor --role worker`"
    SecretWeak "secret_weak" Configuration Warning
        "a webhook secret has fewer than 16 characters"
        "make a longer one (`openssl rand -hex 32`), let both stand in the list, change it at the sender, take the old one out"
    AddressesCollide "addresses_collide" Configuration Error
        "two of `edge.listen`, `worker.health_listen` and `metrics.listen` are the same address"
        "give `worker.health_listen` or `metrics.listen` another port, or leave it empty"
    BrokerUnencrypted "broker_unencrypted" Configuration Warning
        "the way to a broker on another machine is not encrypted: password and events can be read on it"
        "set `queue.url` to `amqps://…` (and `queue.management_url` to `https://…`); docs/configuration.md, encrypted lines"
    BrokerGuest "broker_guest" Configuration Warning
        "the broker on another machine is used as `guest`, with the password that everybody knows"
        "`rabbitmqctl add_user hostmatch`, `rabbitmqctl set_permissions hostmatch …` (docs/configuration.md, least rights), set `queue.url`, `rabbitmqctl delete_user guest`"
    DatabaseUnencrypted "database_unencrypted" Configuration Warning
        "the way to a database on another machine is not encrypted, or nobody looks at the server's certificate"
        "add `?ssl-mode=VERIFY_IDENTITY&ssl-ca=…` (MariaDB, MySQL) or `?sslmode=verify-full&sslrootcert=…` (PostgreSQL) to `database.url`"
    HoldTooLong "hold_too_long" Configuration Warning
        "`worker.hold` is more than half of RabbitMQ's usual consumer timeout (30m), which closes the consumer"
        "set `worker.hold` to 15m or less"
    ShutdownTooShort "shutdown_too_short" Configuration Warning
        "`worker.shutdown_timeout` is shorter than one statement and one confirm may take: a stop gives back what was nearly done"
        "set `worker.shutdown_timeout` to at least `database.statement_timeout` + `queue.confirm_timeout`, and the grace period of the orchestrator above it"
    PrefetchTooSmall "prefetch_too_small" Configuration Warning
        "`queue.prefetch` is less than twice `worker.batch_size`: nothing is there to go on with while a batch is committed"
        "set `queue.prefetch` to twice `worker.batch_size`, or `worker.batch_size` to half of it"
    PoolTooSmall "pool_too_small" Configuration Warning
        "`database.max_connections` is less than `worker.pipelines` and the two that recording and housekeeping use"
        "set `database.max_connections` to at least `worker.pipelines` + 2"
    DeliveryLimitLow "delivery_limit_low" Configuration Warning
        "`queue.delivery_limit` is below 10: a few restarts of the workers dead-letter events that nothing is wrong with"
        "set `queue.delivery_limit` to 50 (a queue that is there keeps its limit: `hostmatch topology diff`)"
    RetentionTooShort "retention_too_short" Configuration Warning
        "`retention.events` is shorter than an event may be on its way (`edge.spool_max_age` and the retries): one that comes twice is not recognised"
        "set `retention.events` to more than both together"
    OverwriteAlways "overwrite_always" Configuration Warning
        "`appointments.overwrite` is `always`: what people set by hand is overwritten"
        "set `appointments.overwrite = \"ours\"`"
    ThresholdLow "threshold_low" Configuration Warning
        "`matching.auto_accept` is below 75, the confidence of a bare name: every match is taken, however weak"
        "set `matching.auto_accept` to 80; `hostmatch match simulate` shows what that changes"
    SpoolOff "spool_off" Configuration Warning
        "the edge has no spool: while the broker is away events are answered 503"
        "set `edge.spool` to a file on a disk that lasts"

    SecretReadable "secret_readable" Files Warning
        "a file with secrets can be read by every user of this machine"
        "`chmod o-rwx FILE` (Kubernetes: `defaultMode: 0440` and `fsGroup`)"
    FileWritable "file_writable" Files Error
        "a configuration file, or one with secrets or tokens, can be changed by every user of this machine"
        "`chmod o-w FILE`"
    FileUnreadable "file_unreadable" Files Error
        "`edge.tokens_file` cannot be read: every token is refused"
        "make it with `hostmatch token create`, and let the edge's user read it"
    TokenLineLeftOut "token_line_left_out" Files Warning
        "a line of `edge.tokens_file` is not understood, and its token is refused"
        "write the line again with `hostmatch token create`"
    TokensExpired "tokens_expired" Files Warning
        "tokens of `edge.tokens_file` have expired"
        "make new ones with `hostmatch token create`, and remove the old ones with `hostmatch token revoke`"
    FolderUnwritable "folder_unwritable" Files Error
        "the folder of the spool, of the embedded queue or of the SQLite database is not there, or cannot be written by this user"
        "make the folder, or give it to the user that runs hostmatch (`chown`); or let the key lead elsewhere"
    DiskFull "disk_full" Files Error
        "less than 64 MiB are free where the spool, the embedded queue or the SQLite database lies"
        "free space, or let the key lead to another disk"
    DiskNearlyFull "disk_nearly_full" Files Warning
        "less than 5 % are free there (of a large disk, less than 1 GiB), or less than `edge.spool_max_bytes`"
        "free space, set `edge.spool_max_bytes` to what there is, or let the key lead to another disk"

    DatabaseUnreachable "database_unreachable" Database Error
        "the database cannot be reached, or does not answer what it is asked"
        "`hostmatch config show database.url`; is the server up, are user, password and name of the database right?"
    DatabaseTooOld "database_too_old" Database Error
        "the server is older than MariaDB 10.6 or MySQL 8.0.1"
        "upgrade the database server"
    DatabaseReadOnly "database_read_only" Database Error
        "the server takes no writes: it is a replica, or set read-only"
        "let `database.url` lead to the primary"
    GatewayTablesMissing "gateway_tables_missing" Database Error
        "tables or columns of the gateway's that cannot be done without are not there, or hidden from this user"
        "is `database.url` the gateway's database? `hostmatch gateway inspect`; for a new installation without a gateway `hostmatch migrate baseline`"
    GatewayUnusable "gateway_unusable" Database Error
        "a column of the gateway's has a type that cannot be used"
        "`hostmatch gateway inspect` says which; change it in the gateway's own migrations"
    TimezoneUnknown "timezone_unknown" Database Error
        "the database does not know the zone in `gateway.timezone`"
        "set `gateway.timezone` to an offset such as `+02:00`, or load the server's zones (`mysql_tzinfo_to_sql`)"
    TimezoneWrong "timezone_wrong" Database Warning
        "the gateway's newest `appointments.updated_at` lie ahead of what hostmatch would write now"
        "set `gateway.timezone` to the zone in which the gateway writes"
    EngineUnsafe "engine_unsafe" Database Error
        "a table of the gateway's has an engine without transactions"
        "`ALTER TABLE … ENGINE=InnoDB`, at a quiet hour"
    StaffKeyDiffers "staff_key_differs" Database Warning
        "a column that refers to `staff.id` has another type or collation"
        "give the column the type and the collation of `staff.id`"
    StaffEmailHidden "staff_email_hidden" Database Warning
        "`staff.email` is not there, or hidden from this user: nobody is matched by e-mail"
        "grant it (`hostmatch gateway grants --role run`), or add the column in the gateway"
    MigrationsPending "migrations_pending" Database Error
        "our tables are missing, or older than this version"
        "`hostmatch migrate up`"
    MigrationsNewer "migrations_newer" Database Error
        "a newer hostmatch has migrated the database, and took away what this version uses (what it only added is in nobody's way)"
        "run that version here too; or go back with it: `hostmatch migrate down`"
    MigrationsHalfway "migrations_halfway" Database Error
        "a migration is recorded as applied, and what it made is not there"
        "if an administrator sees it, grant what `hostmatch gateway grants` prints; if it is gone, put it back from a backup, or delete its row from `hostmatch_migrations` and run `hostmatch migrate up`: it is made anew, and empty"
    MigrationsBlocked "migrations_blocked" Database Error
        "something stands in the way of `hostmatch migrate up`"
        "`hostmatch gateway inspect` lists it, with what to do"
    SequenceLags "sequence_lags" Database Error
        "PostgreSQL: a sequence of ours lags behind the ids of its table, as after rows were imported with theirs: new rows are refused until it has caught up. Seen by who may read or use the sequence: the owner of the table"
        "`hostmatch migrate up` sets it"
    RightsMissing "rights_missing" Database Error
        "this user lacks rights that deciding needs"
        "let an administrator run what `hostmatch gateway grants --role run` prints (`--role observe` with `worker.mode = \"observe\"`)"
    DatabaseProbeFailed "database_probe_failed" Database Error
        "doing what deciding does, in a transaction that is rolled back, failed"
        "the finding says what the server answered"
    IndexMissing "index_missing" Database Warning
        "an index is not there by which rows are looked up: each batch reads the whole table"
        "`CREATE INDEX …` as the finding says; on the gateway's tables by a migration of the gateway"
    ClockSkew "clock_skew" Database Warning
        "the database's clock and this machine's are more than 2 seconds apart"
        "let both follow the same time servers (`timedatectl`, `chronyc tracking`)"
    ConnectionsScarce "connections_scarce" Database Warning
        "the server has not as many connections left as `database.max_connections`"
        "raise the server's `max_connections`, or lower `database.max_connections`"
    StatementsScarce "statements_scarce" Database Warning
        "the server keeps fewer prepared statements than 256 for each of `database.max_connections`"
        "raise the server's `max_prepared_stmt_count`, or lower `database.max_connections`"

    BrokerUnreachable "broker_unreachable" Broker Error
        "the broker cannot be reached, or does not answer in time"
        "`hostmatch config show queue.url`; is it up, are host and port right, does a firewall stand between?"
    BrokerRefused "broker_refused" Broker Error
        "the broker does not let us in: user, password or virtual host"
        "correct `queue.url`, or `rabbitmqctl add_user`, `rabbitmqctl add_vhost`, `rabbitmqctl set_permissions`"
    BrokerTooOld "broker_too_old" Broker Error
        "it is older than RabbitMQ 3.10, or no RabbitMQ"
        "upgrade the broker to RabbitMQ 3.10 or newer"
    BrokerBlocked "broker_blocked" Broker Error
        "the broker takes no messages: it is short of memory or disk"
        "`rabbitmq-diagnostics check_local_alarms`; free disk or memory, or raise `vm_memory_high_watermark` or `disk_free_limit`"
    BrokerAlarm "broker_alarm" Broker Error
        "a node has a memory or disk alarm (management API)"
        "free disk or memory on that node, or raise its `vm_memory_high_watermark` or `disk_free_limit`"
    BrokerRightMissing "broker_right_missing" Broker Error
        "our user may not configure, write or read what its role needs"
        "`rabbitmqctl set_permissions` as the finding says; docs/configuration.md, least rights on the broker"
    MessageSizeSmall "message_size_small" Broker Error
        "the broker takes no messages as large as `edge.body_limit`"
        "raise the broker's `max_message_size`, or lower `edge.body_limit`"
    ChannelsFew "channels_few" Broker Warning
        "the broker lets a connection have fewer channels than `worker.pipelines` and 8"
        "raise the broker's `channel_max`, or lower `worker.pipelines`"
    ManagementUnusable "management_unusable" Broker Warning
        "`queue.management_url` is set, and does not answer or does not let its user see what is needed"
        "correct `queue.management_url`; `rabbitmq-plugins enable rabbitmq_management`; `rabbitmqctl set_user_tags USER monitoring policymaker`"
    QueueFileUnusable "queue_file_unusable" Broker Error
        "the file of the embedded queue cannot be used"
        "the finding says why; `hostmatch config show queue.url`"

    ExchangeMissing "exchange_missing" Topology Error
        "the exchange that publishers write to is not there"
        "`hostmatch topology apply`"
    ExchangeDiffers "exchange_differs" Topology Error
        "it is another kind of exchange"
        "`hostmatch topology diff` says how; delete it and run `hostmatch topology apply`, or choose another `queue.prefix`"
    QueueMissing "queue_missing" Topology Error
        "a queue is not there"
        "`hostmatch topology apply`"
    QueueDiffers "queue_differs" Topology Error
        "a queue has other arguments: with `queue.topology = \"declare\"` hostmatch does not start"
        "`hostmatch topology diff` says which; set the key to what is there, or delete the queue when it is empty and run `hostmatch topology apply`"
    BindingMissing "binding_missing" Topology Error
        "the work queue is not bound to the exchange with `#`: events reach nobody and are returned or lost"
        "`hostmatch topology apply`"
    AlternateExchange "alternate_exchange" Topology Warning
        "the exchange has an alternate one: events that no queue takes vanish into it, and the publisher believes them accepted"
        "take `alternate-exchange` out of the policy (`rabbitmqctl list_policies`)"
    PolicyExpiresMessages "policy_expires_messages" Topology Error
        "a policy (`message-ttl`) lets events or dead letters expire, or ends a wait before its time"
        "take `message-ttl` out of the policy, or let its pattern leave out our queues (`rabbitmqctl list_policies`)"
    PolicyBoundsQueue "policy_bounds_queue" Topology Error
        "a policy bounds a queue (`max-length`, `max-length-bytes`): what is too much is refused, or dropped from the dead letters"
        "take the bound out of the policy, or let its pattern leave out our queues (`rabbitmqctl list_policies`)"
    PolicyDeletesQueue "policy_deletes_queue" Topology Error
        "a policy (`expires`) deletes a queue that nobody uses for a while, with what is in it"
        "take `expires` out of the policy, or let its pattern leave out our queues (`rabbitmqctl list_policies`)"
    PolicyRedirects "policy_redirects" Topology Warning
        "a policy sends dead letters elsewhere (`dead-letter-exchange`), so that some may never be recorded"
        "let the pattern of the policy leave out our queues (`rabbitmqctl list_policies`)"
    PolicyDeliveryLimit "policy_delivery_limit" Topology Warning
        "a policy lowers the delivery limit of a queue below what is configured"
        "take `delivery-limit` out of the policy, or set `queue.delivery_limit` to it"
    ConsumerTimeoutShort "consumer_timeout_short" Topology Error
        "a queue's consumer timeout (argument or policy) is shorter than twice `worker.hold`: the broker closes consumers that wait for the database"
        "raise `consumer-timeout` in the policy or argument, or lower `worker.hold`"
    NoConsumers "no_consumers" Topology Warning
        "nobody consumes the work queue"
        "start `hostmatch serve worker`; its log and `/health/ready` say what it waits for"
    DeadLettersStuck "dead_letters_stuck" Topology Warning
        "dead letters are in their queue and nobody records them"
        "start `hostmatch serve worker`, which takes them into the table `hostmatch_dead_letters`"

    EdgeUnreachable "edge_unreachable" Edge Error
        "the edge named by `--edge` does not answer"
        "is it running, is the URL right, does the proxy in front let `/health/live` through?"
    EdgeNotReady "edge_not_ready" Edge Warning
        "it answers, and is not ready, or only in part"
        "the finding has its reasons; its log says more"
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
