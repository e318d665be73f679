//! What may be wrong with an installation: a closed list of codes, and what is found of them. `docs/doctor.md` has
//! the same list, made from this one; `tests/it/documents/mod.rs` compares them.

use serde::Serialize;

use super::topology::Difference;
use crate::runtime::words;

/// A part of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
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
    /// What else there is to know of the gateway's database: told by `hostmatch gateway inspect` alone.
    Gateway,
}

impl Area {
    /// Those that the doctor looks at, in the order in which they are told.
    pub const ALL: [Self; 6] =
        [Self::Configuration, Self::Files, Self::Database, Self::Broker, Self::Topology, Self::Edge];
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Level {
    /// Something does not work, or loses or exposes something.
    Error,
    /// Something works and will cause trouble.
    Warning,
}

words!(Area, Level, Code);

/// Where alone a code says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Only {
    Edge,
    Worker,
    /// With RabbitMQ, and not with the embedded queue.
    Rabbit,
}

macro_rules! codes {
    ($($area:ident { $($code:ident $level:ident $($only:ident)*: $when:literal => $remedy:literal,)* })*) => {
        /// What may be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, strum::IntoStaticStr, strum::EnumString)]
        #[serde(rename_all = "snake_case")]
        #[strum(serialize_all = "snake_case")]
        #[expect(missing_docs, reason = "when() says what each means")]
        pub enum Code { $($($code,)*)* }

        impl Code {
            /// All of them, area by area.
            pub const ALL: &'static [Self] = &[$($(Self::$code,)*)*];

            /// Where it belongs.
            pub fn area(self) -> Area {
                match self { $($(Self::$code => Area::$area,)*)* }
            }

            /// How much it matters.
            pub fn level(self) -> Level {
                match self { $($(Self::$code => Level::$level,)*)* }
            }

            /// When it is found.
            pub fn when(self) -> &'static str {
                match self { $($(Self::$code => $when,)*)* }
            }

            /// What to do about it, in general.
            pub fn remedy(self) -> &'static str {
                match self { $($(Self::$code => $remedy,)*)* }
            }

            /// Where alone it says something; nothing: everywhere.
            pub(super) fn only(self) -> &'static [Only] {
                match self { $($(Self::$code => &[$(Only::$only),*],)*)* }
            }
        }
    };
}

codes! {
    Configuration {
        ConfigInvalid Error: "the configuration is refused; nothing else is looked at, and the exit code is 9"
            => "correct the key that is named; `hostmatch config validate` checks again",
        EnvironmentNotRead Warning: "a variable has one underscore where two belong, and is not read"
            => "rename it as the finding says: `HOSTMATCH_<section>__<key>`",
        EdgeUnsigned Error Edge: "`edge.allow_unsigned` is on, and `edge.listen` is not a loopback address: anybody can post events"
            => "set `edge.allow_unsigned = false`; give the gateway a token (`hostmatch token create`) or a secret (`edge.gateway_secrets_file`)",
        EdgeRefusesAll Warning Edge: "the edge has no secret, key or token: it answers 401 to everybody"
            => "set `edge.calcom_secrets_file`, `edge.gateway_secrets_file`, `edge.retell_api_keys_file` or `edge.tokens_file`; where no edge runs: `hostmatch doctor --role worker`",
        SecretWeak Warning Edge: "a webhook secret has fewer than 16 characters"
            => "make a longer one (`openssl rand -hex 32`), let both stand in the list, change it at the sender, take the old one out",
        AddressesCollide Error: "two of `edge.listen`, `worker.health_listen` and `metrics.listen` are the same address"
            => "give `worker.health_listen` or `metrics.listen` another port, or leave it empty",
        BrokerUnencrypted Warning Rabbit: "the way to a broker on another machine is not encrypted: password and events can be read on it"
            => "set `queue.url` to `amqps://…` (and `queue.management_url` to `https://…`); docs/configuration.md, encrypted connections",
        BrokerGuest Warning Rabbit: "the broker on another machine is used as `guest`, with the password that everybody knows"
            => "`rabbitmqctl add_user hostmatch`, `rabbitmqctl set_permissions hostmatch …` (docs/configuration.md, least rights), set `queue.url`, `rabbitmqctl delete_user guest`",
        DatabaseUnencrypted Warning Worker: "the way to a database on another machine is not encrypted, or nobody looks at the server's certificate"
            => "add `?ssl-mode=VERIFY_IDENTITY&ssl-ca=…` (MariaDB, MySQL) or `?sslmode=verify-full&sslrootcert=…` (PostgreSQL) to `database.url`",
        HoldTooLong Warning Worker: "`worker.hold` is more than half of RabbitMQ's usual consumer timeout (30m), which closes the consumer"
            => "set `worker.hold` to 15m or less",
        ShutdownTooShort Warning Worker: "`worker.shutdown_timeout` is shorter than one statement and one confirm may take: a stop gives back what was nearly done"
            => "set `worker.shutdown_timeout` to at least `database.statement_timeout` + `queue.confirm_timeout`, and the grace period of the orchestrator above it",
        PrefetchTooSmall Warning Worker Rabbit: "`queue.prefetch` is less than twice `worker.batch_size`: nothing is there to go on with while a batch is committed"
            => "set `queue.prefetch` to twice `worker.batch_size`, or `worker.batch_size` to half of it",
        PoolTooSmall Warning Worker: "`database.max_connections` is less than `worker.pipelines` and the two that recording and housekeeping use"
            => "set `database.max_connections` to at least `worker.pipelines` + 2",
        DeliveryLimitLow Warning: "`queue.delivery_limit` is below 10: a few restarts of the workers dead-letter events that nothing is wrong with"
            => "set `queue.delivery_limit` to 50 (a queue that is there keeps its limit: `hostmatch topology diff`)",
        RetentionTooShort Warning Worker: "`retention.events` is shorter than an event may be on its way (`edge.spool_max_age` and the retries): one that comes twice is not recognised"
            => "set `retention.events` to more than both together",
        OverwriteAlways Warning Worker: "`appointments.overwrite` is `always`: what people set by hand is overwritten"
            => "set `appointments.overwrite = \"ours\"`",
        ThresholdLow Warning Worker: "`matching.auto_accept` is below 75, the confidence of a bare name: every match is taken, however weak"
            => "set `matching.auto_accept` to 80; `hostmatch match simulate` shows what that changes",
        SpoolOff Warning Edge Rabbit: "the edge has no spool: while the broker is away events are answered 503"
            => "set `edge.spool` to a file on a disk that lasts",
    }
    Files {
        SecretReadable Warning: "a file with secrets can be read by every user of this machine"
            => "`chmod o-rwx FILE` (Kubernetes: `defaultMode: 0440` and `fsGroup`)",
        FileWritable Error: "a configuration file, or one with secrets or tokens, can be changed by every user of this machine"
            => "`chmod o-w FILE`",
        FileUnreadable Error Edge: "`edge.tokens_file` cannot be read: every token is refused"
            => "make it with `hostmatch token create`, and let the edge's user read it",
        TokenLineLeftOut Warning Edge: "a line of `edge.tokens_file` is not understood, and its token is refused"
            => "write the line again with `hostmatch token create`",
        TokensExpired Warning Edge: "tokens of `edge.tokens_file` have expired"
            => "make new ones with `hostmatch token create`, and remove the old ones with `hostmatch token revoke`",
        FolderUnwritable Error: "the folder of the spool, of the embedded queue or of the SQLite database is not there, or cannot be written by this user"
            => "make the folder, or give it to the user that runs hostmatch (`chown`); or let the key lead elsewhere",
        DiskFull Error: "less than 64 MiB are free where the spool, the embedded queue or the SQLite database lies"
            => "free space, or let the key lead to another disk",
        DiskNearlyFull Warning: "less than 5 % are free there (of a large disk, less than 1 GiB), or less than `edge.spool_max_bytes`"
            => "free space, set `edge.spool_max_bytes` to what there is, or let the key lead to another disk",
    }
    Database {
        DatabaseUnreachable Error: "the database cannot be reached, or does not answer what it is asked"
            => "`hostmatch config show database.url`; is the server up, are user, password and name of the database right?",
        DatabaseTooOld Error: "the server is older than MariaDB 10.6 or MySQL 8.0.1"
            => "upgrade the database server",
        DatabaseReadOnly Error: "the server takes no writes: it is a replica, or set read-only"
            => "let `database.url` lead to the primary",
        GatewayTablesMissing Error: "tables or columns of the gateway's that cannot be done without are not there, or hidden from this user"
            => "is `database.url` the gateway's database? `hostmatch gateway inspect`; for a new installation without a gateway `hostmatch migrate baseline`",
        GatewayUnusable Error: "a column of the gateway's has a type that cannot be used"
            => "`hostmatch gateway inspect` says which; change it in the gateway's own migrations",
        TimezoneUnknown Error: "the database does not know the zone in `gateway.timezone`"
            => "set `gateway.timezone` to an offset such as `+02:00`, or load the server's zones (`mysql_tzinfo_to_sql`)",
        TimezoneWrong Warning: "the gateway's newest `appointments.updated_at` lie ahead of what hostmatch would write now"
            => "set `gateway.timezone` to the zone in which the gateway writes",
        EngineUnsafe Error: "a table of the gateway's has an engine without transactions"
            => "`ALTER TABLE … ENGINE=InnoDB`, at a quiet hour",
        StaffKeyDiffers Warning: "a column that refers to `staff.id` has another type or collation"
            => "give the column the type and the collation of `staff.id`",
        StaffEmailHidden Warning: "`staff.email` is not there, or hidden from this user: nobody is matched by e-mail"
            => "grant it (`hostmatch gateway grants --role run`), or add the column in the gateway",
        MigrationsPending Error: "our tables are missing, or older than this version"
            => "`hostmatch migrate up`",
        MigrationsNewer Error: "a newer hostmatch has migrated the database, and took away what this version uses (what it only added is in nobody's way)"
            => "run that version here too; or go back with it: `hostmatch migrate down`",
        MigrationsHalfway Error: "a migration is recorded as applied, and what it made is not there"
            => "if an administrator sees it, grant what `hostmatch gateway grants` prints; if it is gone, put it back from a backup, or delete its row from `hostmatch_migrations` and run `hostmatch migrate up`: it is made anew, and empty",
        MigrationsBlocked Error: "something stands in the way of `hostmatch migrate up`"
            => "`hostmatch gateway inspect` lists it, with what to do",
        SequenceLags Error: "PostgreSQL: a sequence of ours lags behind the ids of its table, as after rows were imported with theirs: new rows are refused until it has caught up. Seen by who may read or use the sequence: the owner of the table"
            => "`hostmatch migrate up` sets it",
        RightsMissing Error: "this user lacks rights that deciding needs"
            => "let an administrator run what `hostmatch gateway grants --role run` prints (`--role observe` with `worker.mode = \"observe\"`)",
        DatabaseProbeFailed Error: "doing what deciding does, in a transaction that is rolled back, failed"
            => "the finding says what the server answered",
        IndexMissing Warning: "an index is not there by which rows are looked up: each batch reads the whole table"
            => "`CREATE INDEX …` as the finding says; on the gateway's tables by a migration of the gateway",
        ClockSkew Warning: "the database's clock and this machine's are more than 2 seconds apart"
            => "let both follow the same time servers (`timedatectl`, `chronyc tracking`)",
        ConnectionsScarce Warning: "the server has not as many connections left as `database.max_connections`"
            => "raise the server's `max_connections`, or lower `database.max_connections`",
        StatementsScarce Warning: "the server keeps fewer prepared statements than 256 for each of `database.max_connections`"
            => "raise the server's `max_prepared_stmt_count`, or lower `database.max_connections`",
    }
    Broker {
        BrokerUnreachable Error: "the broker cannot be reached, or does not answer in time"
            => "`hostmatch config show queue.url`; is it up, are host and port right, does a firewall stand between?",
        BrokerRefused Error: "the broker does not let us in: user, password or virtual host"
            => "correct `queue.url`, or `rabbitmqctl add_user`, `rabbitmqctl add_vhost`, `rabbitmqctl set_permissions`",
        BrokerTooOld Error: "it is older than RabbitMQ 3.10, or no RabbitMQ"
            => "upgrade the broker to RabbitMQ 3.10 or newer",
        BrokerBlocked Error: "the broker takes no messages: it is short of memory or disk"
            => "`rabbitmq-diagnostics check_local_alarms`; free disk or memory, or raise `vm_memory_high_watermark` or `disk_free_limit`",
        BrokerAlarm Error: "a node has a memory or disk alarm (management API)"
            => "free disk or memory on that node, or raise its `vm_memory_high_watermark` or `disk_free_limit`",
        BrokerRightMissing Error: "our user may not configure, write or read what its role needs"
            => "`rabbitmqctl set_permissions` as the finding says; docs/configuration.md, least rights on the broker",
        MessageSizeSmall Error: "the broker takes no messages as large as `edge.body_limit`"
            => "raise the broker's `max_message_size`, or lower `edge.body_limit`",
        ChannelsFew Warning: "the broker lets a connection have fewer channels than `worker.pipelines` and 8"
            => "raise the broker's `channel_max`, or lower `worker.pipelines`",
        ManagementUnusable Warning: "`queue.management_url` is set, and does not answer or does not let its user see what is needed"
            => "correct `queue.management_url`; `rabbitmq-plugins enable rabbitmq_management`; `rabbitmqctl set_user_tags USER monitoring policymaker`",
        QueueFileUnusable Error: "the file of the embedded queue cannot be used"
            => "the finding says why; `hostmatch config show queue.url`",
    }
    Topology {
        ExchangeMissing Error: "the exchange that publishers write to is not there"
            => "`hostmatch topology apply`",
        ExchangeDiffers Error: "it is another kind of exchange"
            => "`hostmatch topology diff` says how; delete it and run `hostmatch topology apply`, or choose another `queue.prefix`",
        QueueMissing Error: "a queue is not there"
            => "`hostmatch topology apply`",
        QueueDiffers Error: "a queue has other arguments: with `queue.topology = \"declare\"` hostmatch does not start"
            => "`hostmatch topology diff` says which; set the key to what is there, or delete the queue when it is empty and run `hostmatch topology apply`",
        BindingMissing Error: "the work queue is not bound to the exchange with `#`: events reach nobody and are returned or lost"
            => "`hostmatch topology apply`",
        AlternateExchange Warning: "the exchange has an alternate one: events that no queue takes vanish into it, and the publisher believes them accepted"
            => "take `alternate-exchange` out of the policy (`rabbitmqctl list_policies`)",
        PolicyExpiresMessages Error: "a policy (`message-ttl`) lets events or dead letters expire, or ends a wait before its time"
            => "take `message-ttl` out of the policy, or let its pattern leave out our queues (`rabbitmqctl list_policies`)",
        PolicyBoundsQueue Error: "a policy bounds a queue (`max-length`, `max-length-bytes`): what is too much is refused, or dropped from the dead letters"
            => "take the bound out of the policy, or let its pattern leave out our queues (`rabbitmqctl list_policies`)",
        PolicyDeletesQueue Error: "a policy (`expires`) deletes a queue that nobody uses for a while, with what is in it"
            => "take `expires` out of the policy, or let its pattern leave out our queues (`rabbitmqctl list_policies`)",
        PolicyRedirects Warning: "a policy sends dead letters elsewhere (`dead-letter-exchange`), so that some may never be recorded"
            => "let the pattern of the policy leave out our queues (`rabbitmqctl list_policies`)",
        PolicyDeliveryLimit Warning: "a policy lowers the delivery limit of a queue below what is configured"
            => "take `delivery-limit` out of the policy, or set `queue.delivery_limit` to it",
        ConsumerTimeoutShort Error: "a queue's consumer timeout (argument or policy) is shorter than twice `worker.hold`: the broker closes consumers that wait for the database"
            => "raise `consumer-timeout` in the policy or argument, or lower `worker.hold`",
        NoConsumers Warning: "nobody consumes the work queue"
            => "start `hostmatch serve worker`; its log and `/health/ready` say what it waits for",
        DeadLettersStuck Warning: "dead letters are in their queue and nobody records them"
            => "start `hostmatch serve worker`, which takes them into the table `hostmatch_dead_letters`",
    }
    Edge {
        EdgeUnreachable Error: "the edge named by `--edge` does not answer"
            => "is it running, is the URL right, does the proxy in front let `/health/live` through?",
        EdgeNotReady Warning: "it answers, and is not ready, or only in part"
            => "the finding has its reasons; its log says more",
    }
    Gateway {
        Adoption Warning: "tables of ours are there that somebody else made"
            => "`hostmatch migrate up --adopt` brings it to our shape and keeps every row",
        Migrating Warning: "migrating is different here"
            => "nothing has to be done",
        Trigger Warning: "a trigger runs when `appointments` is written to, or cannot be seen"
            => "see that it is quick, and right for a change of staff_id by a program",
        Rows Warning: "the gateway's rows hold something in store for matching"
            => "the finding says what",
    }
}

impl Code {
    /// From this one to that one, as they stand in the list.
    pub(super) fn to(self, last: Self) -> &'static [Self] {
        &Self::ALL[self as usize..=last as usize]
    }
}

/// One thing that is not as it should be, or has to be known. Holds no secret.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    pub(crate) code: Code,
    pub(crate) level: Level,
    pub(crate) area: Area,
    /// On what: a key, a file, a queue, a table.
    pub(crate) subject: String,
    pub(crate) what: String,
    /// The command or key that mends it.
    pub(crate) remedy: String,
    /// The keys of the rows that are meant; empty where it is not about rows.
    #[serde(skip)]
    pub(crate) rows: Vec<String>,
    /// Of the broker's topology: what is wanted and what is there.
    #[serde(skip)]
    pub(crate) difference: Option<Difference>,
}

impl Finding {
    /// With the remedy that its code has in general.
    pub(super) fn new(code: Code, subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            code,
            level: code.level(),
            area: code.area(),
            subject: subject.into(),
            what: what.into(),
            // There the backquotes are Markdown's.
            remedy: code.remedy().replace('`', ""),
            rows: Vec::new(),
            difference: None,
        }
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

/// Something that was not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NotChecked {
    pub(crate) code: Code,
    /// Of the broker's topology: what.
    #[serde(skip)]
    pub(crate) what: String,
    pub(crate) why: String,
}
