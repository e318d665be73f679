//! The problems that an installation may have: a closed list of codes, and the findings. The list in
//! `docs/doctor.md` is generated from this one; `tests/it/documents/mod.rs` compares them.

use serde::Serialize;

use super::topology::Difference;
use crate::runtime::string_values;

/// A part of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Area {
    /// Values that are valid but dangerous.
    Configuration,
    /// Files, folders and disks on this machine.
    Files,
    /// The gateway's database.
    Database,
    /// The broker, or the embedded queue.
    Broker,
    /// Exchange, queues, bindings and policies.
    Topology,
    /// An edge that runs elsewhere.
    Edge,
    /// Other facts about the gateway's database, reported only by `hostmatch gateway inspect`.
    Gateway,
}

impl Area {
    /// The areas that the doctor checks, in the order of its report.
    pub const ALL: [Self; 6] =
        [Self::Configuration, Self::Files, Self::Database, Self::Broker, Self::Topology, Self::Edge];
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Level {
    /// Something does not work, or loses or exposes something.
    Error,
    /// Something works but will cause trouble.
    Warning,
}

string_values!(Area, Level, Code);

/// A role or a queue without which a code does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requirement {
    Edge,
    Worker,
    /// With RabbitMQ, not with the embedded queue.
    Rabbit,
}

macro_rules! codes {
    ($($area:ident { $($code:ident $level:ident $($required:ident)*: $when:literal => $remedy:literal,)* })*) => {
        /// A problem that an installation may have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, strum::IntoStaticStr, strum::EnumString)]
        #[serde(rename_all = "snake_case")]
        #[strum(serialize_all = "snake_case")]
        #[expect(missing_docs, reason = "when() describes each")]
        pub enum Code { $($($code,)*)* }

        impl Code {
            /// All codes, area by area.
            pub const ALL: &'static [Self] = &[$($(Self::$code,)*)*];

            /// Returns the area of the code.
            pub fn area(self) -> Area {
                match self { $($(Self::$code => Area::$area,)*)* }
            }

            /// Returns the level of the problem.
            pub fn level(self) -> Level {
                match self { $($(Self::$code => Level::$level,)*)* }
            }

            /// Describes the condition under which the problem is reported.
            pub fn when(self) -> &'static str {
                match self { $($(Self::$code => $when,)*)* }
            }

            /// Describes the general remedy.
            pub fn remedy(self) -> &'static str {
                match self { $($(Self::$code => $remedy,)*)* }
            }

            /// Returns the roles and the queue without which the code does not apply.
            pub(super) fn requirements(self) -> &'static [Requirement] {
                match self { $($(Self::$code => &[$(Requirement::$required),*],)*)* }
            }
        }
    };
}

codes! {
    Configuration {
        ConfigInvalid Error: "the configuration is refused; nothing else is checked, and the exit code is 9"
            => "correct the named key; then run `hostmatch config validate`",
        EnvironmentNotRead Warning: "a variable has one underscore where two belong, and is not read"
            => "rename it as the finding says: `HOSTMATCH_<section>__<key>`",
        EdgeUnsigned Error Edge: "`edge.allow_unsigned` is on, and `edge.listen` is not a loopback address: anybody can post events"
            => "set `edge.allow_unsigned = false`; give the gateway a token (`hostmatch token create`) or a secret (`edge.gateway_secrets_file`)",
        EdgeRefusesAll Warning Edge: "the edge has no secret, key or token: it refuses every request with 401"
            => "set `edge.calcom_secrets_file`, `edge.gateway_secrets_file`, `edge.retell_api_keys_file` or `edge.tokens_file`; where no edge runs: `hostmatch doctor --role worker`",
        SecretWeak Warning Edge: "a webhook secret has fewer than 16 characters"
            => "create a longer one (`openssl rand -hex 32`), add it to the list, change it at the sender, then remove the old one",
        HeaderKeyWeak Warning Rabbit: "a key of `queue.header_key` has fewer than 16 characters"
            => "add a longer one (`openssl rand -hex 32`) as the last line of `queue.header_key_file` everywhere and restart, move it to the first line and restart, then remove the old one",
        AddressesCollide Error: "two of `edge.listen`, `worker.health_listen` and `metrics.listen` are the same address"
            => "give `worker.health_listen` or `metrics.listen` another port, or leave it empty",
        BrokerUnencrypted Warning Rabbit: "the connection to a broker on another machine is not encrypted: password and events can be read on the network"
            => "set `queue.url` to `amqps://…` (and `queue.management_url` to `https://…`); docs/configuration.md, encrypted connections",
        BrokerGuest Warning Rabbit: "the user for a broker on another machine is `guest`, whose password is publicly known"
            => "`rabbitmqctl add_user hostmatch`, `rabbitmqctl set_permissions hostmatch …` (docs/configuration.md, least privilege), set `queue.url`, `rabbitmqctl delete_user guest`",
        DatabaseUnencrypted Warning Worker: "the connection to a database on another machine is not encrypted, or the server's certificate is not verified"
            => "add `?ssl-mode=VERIFY_IDENTITY&ssl-ca=…` (MariaDB, MySQL) or `?sslmode=verify-full&sslrootcert=…` (PostgreSQL) to `database.url`",
        HoldTooLong Warning Worker: "`worker.hold` is more than half of RabbitMQ's usual consumer timeout (30m), which closes the consumer"
            => "set `worker.hold` to 15m or less",
        ShutdownTooShort Warning Worker: "`worker.shutdown_timeout` is shorter than one statement and one confirm may take: a stop returns deliveries that were nearly finished"
            => "set `worker.shutdown_timeout` to at least `database.statement_timeout` + `queue.confirm_timeout`, and the grace period of the orchestrator above it",
        PrefetchTooSmall Warning Worker Rabbit: "`queue.prefetch` is less than twice `worker.batch_size`: a worker has no next batch while it commits one"
            => "set `queue.prefetch` to twice `worker.batch_size`, or `worker.batch_size` to half of it",
        PoolTooSmall Warning Worker: "`database.max_connections` is less than `worker.pipelines` plus the two that recording and housekeeping use"
            => "set `database.max_connections` to at least `worker.pipelines` + 2",
        DeliveryLimitLow Warning: "`queue.delivery_limit` is below 10: a few restarts of the workers dead-letter valid events"
            => "set `queue.delivery_limit` to 50 (an existing queue keeps its limit: `hostmatch topology diff`)",
        RetentionTooShort Warning Worker: "`retention.events` is shorter than an event may be in transit (`edge.spool_max_age` plus the retries): a repeated event is not recognised"
            => "set `retention.events` to more than the sum of both",
        OverwriteAlways Warning Worker: "`appointments.overwrite` is `always`: assignments made by hand are overwritten"
            => "set `appointments.overwrite = \"ours\"`",
        ThresholdLow Warning Worker: "`matching.auto_accept` is below 75, the confidence of a bare name: every match is accepted, however weak"
            => "set `matching.auto_accept` to 80; `hostmatch match simulate` shows what that changes",
        SpoolOff Warning Edge Rabbit: "the edge has no spool: while the broker is unavailable, events are refused with 503"
            => "set `edge.spool` to a file on a persistent disk",
    }
    Files {
        SecretReadable Warning: "a file with secrets can be read by every user of this machine"
            => "`chmod o-rwx FILE` (Kubernetes: `defaultMode: 0440` and `fsGroup`)",
        DataReadable Warning: "the spool, the embedded queue or the SQLite database, which contain bookings, can be read by every user of this machine (hostmatch creates them with mode 600, but an existing file keeps its mode)"
            => "`chmod o-rwx FILE`",
        FileWritable Error: "a configuration file, a file with secrets or tokens, or one of the files with bookings can be changed by every user of this machine"
            => "`chmod o-w FILE`",
        FileUnreadable Error Edge: "`edge.tokens_file` cannot be read: every token is refused"
            => "create it with `hostmatch token create`, and let the edge's user read it",
        TokenLineLeftOut Warning Edge: "a line in `edge.tokens_file` is invalid, and its token is refused"
            => "correct the line, or replace it with a new one by `hostmatch token create`",
        TokensExpired Warning Edge: "tokens in `edge.tokens_file` have expired"
            => "create new ones with `hostmatch token create`, and remove the old ones with `hostmatch token revoke`",
        FolderUnwritable Error: "the folder of the spool, of the embedded queue or of the SQLite database does not exist, or this user cannot write to it"
            => "create the folder, or give it to the user that runs hostmatch (`chown`); or point the key to another folder",
        DiskFull Error: "less than 64 MiB is free on the disk of the spool, the embedded queue or the SQLite database"
            => "free space, or point the key to another disk",
        DiskNearlyFull Warning: "less than 5 % of that disk is free (on a large disk, less than 1 GiB), or less than `edge.spool_max_bytes`"
            => "free space, lower `edge.spool_max_bytes` to the free space, or point the key to another disk",
    }
    Database {
        DatabaseUnreachable Error: "the database cannot be reached, or does not answer a query"
            => "`hostmatch config show database.url`; is the server up, are user, password and database name correct?",
        ConnectionsExhausted Error: "the database server answers, but has no free connection"
            => "raise the server's `max_connections`, or lower `database.max_connections`; its list of sessions says who has them",
        DatabaseTooOld Error: "the server is older than MariaDB 10.6 or MySQL 8.0.1"
            => "upgrade the database server",
        DatabaseReadOnly Error: "the server accepts no writes: it is a replica, or set to read-only"
            => "point `database.url` to the primary",
        GatewayTablesMissing Error: "required tables or columns of the gateway are missing, or hidden from this user"
            => "is `database.url` the gateway's database? `hostmatch gateway inspect`; for a new installation without a gateway `hostmatch migrate baseline`",
        GatewayUnusable Error: "a column of the gateway has a type that hostmatch cannot use"
            => "`hostmatch gateway inspect` says which; change it in the gateway's own migrations",
        TimezoneUnknown Error: "the database does not know the zone in `gateway.timezone`"
            => "set `gateway.timezone` to an offset such as `+02:00`, or load the server's zones (`mysql_tzinfo_to_sql`)",
        TimezoneWrong Warning: "the gateway's newest `appointments.updated_at` are ahead of what hostmatch would write now"
            => "set `gateway.timezone` to the zone in which the gateway writes",
        EngineUnsafe Error: "a table of the gateway has an engine without transactions"
            => "`ALTER TABLE … ENGINE=InnoDB`, at a quiet hour",
        StaffKeyDiffers Warning: "a column that refers to `staff.id` has another type or collation"
            => "give the column the type and the collation of `staff.id`",
        StaffEmailHidden Warning: "`staff.email` is missing, or hidden from this user: no host is matched by e-mail"
            => "grant it (`hostmatch gateway grants --role run`), or add the column in the gateway",
        MigrationsPending Error: "our tables are missing, or older than this version"
            => "`hostmatch migrate up`",
        MigrationsNewer Error: "a newer hostmatch has migrated the database, and has removed something that this version uses (additions do no harm)"
            => "run that version here too; or use that version to migrate down: `hostmatch migrate down`",
        MigrationsHalfway Error: "a migration is recorded as applied, but what it created is missing"
            => "if an administrator can see the missing object, run the statements that `hostmatch gateway grants` prints; if it was deleted, restore it from a backup, or delete the migration's row from `hostmatch_migrations` and run `hostmatch migrate up`, which creates it again, empty",
        MigrationsBlocked Error: "something prevents `hostmatch migrate up`"
            => "`hostmatch gateway inspect` lists the causes and their remedies",
        SequenceLags Error: "PostgreSQL: one of our sequences lags behind the ids of its table, for example after rows were imported with their ids: new rows are refused until it has caught up. Only a user that may read or use the sequence sees this, such as the owner of the table"
            => "`hostmatch migrate up` sets it",
        RightsMissing Error: "this user lacks privileges that a worker needs"
            => "let an administrator run the statements that `hostmatch gateway grants --role run` prints (`--role observe` with `worker.mode = \"observe\"`)",
        DatabaseProbeFailed Error: "a trial run of a worker's statements, in a transaction that is rolled back, failed"
            => "the finding quotes the server's error",
        IndexMissing Warning: "an index for a lookup is missing: each batch reads the whole table"
            => "`CREATE INDEX …` as the finding says; on the gateway's tables by a migration of the gateway",
        ClockSkew Warning: "the database's clock and this machine's are more than 2 seconds apart"
            => "synchronise both with the same time servers (`timedatectl`, `chronyc tracking`)",
        ConnectionsScarce Warning: "the server has fewer free connections than `database.max_connections`"
            => "raise the server's `max_connections`, or lower `database.max_connections`",
        StatementsScarce Warning: "the server has room for fewer than 256 prepared statements for each of `database.max_connections`"
            => "raise the server's `max_prepared_stmt_count`, or lower `database.max_connections`",
        PacketSmall Warning: "MariaDB or MySQL: `max_allowed_packet` is less than 2 MiB, or less than `edge.body_limit` plus 1 MiB: a dead letter of that size is stored only in part, and cannot be replayed"
            => "raise the server's `max_allowed_packet`, or lower `edge.body_limit`",
    }
    Broker {
        BrokerUnreachable Error: "the broker cannot be reached, or does not answer in time"
            => "`hostmatch config show queue.url`; is the broker up, are host and port correct, is a firewall in between?",
        BrokerRefused Error: "the broker refuses the login: user, password or virtual host"
            => "correct `queue.url`, or `rabbitmqctl add_user`, `rabbitmqctl add_vhost`, `rabbitmqctl set_permissions`",
        BrokerTooOld Error: "the broker is older than RabbitMQ 3.10, or not RabbitMQ"
            => "upgrade the broker to RabbitMQ 3.10 or newer",
        BrokerBlocked Error: "the broker accepts no messages: it is short of memory or disk"
            => "`rabbitmq-diagnostics check_local_alarms`; free disk or memory, or raise `vm_memory_high_watermark` or `disk_free_limit`",
        BrokerAlarm Error: "a node has a memory or disk alarm (management API)"
            => "free disk or memory on that node, or raise its `vm_memory_high_watermark` or `disk_free_limit`",
        BrokerRightMissing Error: "our user lacks a permission (configure, write or read) that its role needs"
            => "`rabbitmqctl set_permissions` as the finding says; docs/configuration.md, least privilege on the broker",
        MessageSizeSmall Error: "the broker accepts no messages as large as `edge.body_limit`"
            => "raise the broker's `max_message_size`, or lower `edge.body_limit`",
        ChannelsFew Warning: "the broker allows a connection fewer channels than `worker.pipelines` + 8"
            => "raise the broker's `channel_max`, or lower `worker.pipelines`",
        ManagementUnusable Warning: "`queue.management_url` is set, but the API does not answer, or its user may not see what is needed"
            => "correct `queue.management_url`; `rabbitmq-plugins enable rabbitmq_management`; `rabbitmqctl set_user_tags USER monitoring policymaker`",
        QueueFileUnusable Error: "the file of the embedded queue cannot be used"
            => "the finding says why; `hostmatch config show queue.url`",
    }
    Topology {
        ExchangeMissing Error: "the exchange that publishers write to is missing"
            => "`hostmatch topology apply`",
        ExchangeDiffers Error: "the exchange has another type than `topic`"
            => "`hostmatch topology diff` shows the difference; delete the exchange and run `hostmatch topology apply`, or choose another `queue.prefix`",
        QueueMissing Error: "a queue is missing"
            => "`hostmatch topology apply`",
        QueueDiffers Error: "a queue has other arguments than expected: with `queue.topology = \"declare\"` hostmatch does not start"
            => "`hostmatch topology diff` shows them; set the key to the existing value, or delete the queue when it is empty and run `hostmatch topology apply`",
        BindingMissing Error: "the work queue is not bound to the exchange with `#`: events reach no worker, and are returned or lost"
            => "`hostmatch topology apply`",
        AlternateExchange Warning: "the exchange has an alternate exchange: events that no queue accepts go there, but count as accepted for their publisher"
            => "remove `alternate-exchange` from the policy (`rabbitmqctl list_policies`)",
        PolicyExpiresMessages Error: "a policy (`message-ttl`) lets events or dead letters expire, or ends a wait too early"
            => "remove `message-ttl` from the policy, or exclude our queues from its pattern (`rabbitmqctl list_policies`)",
        PolicyBoundsQueue Error: "a policy limits a queue (`max-length`, `max-length-bytes`): messages beyond it are refused, or dropped from the dead letters"
            => "remove the limit from the policy, or exclude our queues from its pattern (`rabbitmqctl list_policies`)",
        PolicyDeletesQueue Error: "a policy (`expires`) deletes a queue that is unused for a while, with its messages"
            => "remove `expires` from the policy, or exclude our queues from its pattern (`rabbitmqctl list_policies`)",
        PolicyRedirects Warning: "a policy sends dead letters elsewhere (`dead-letter-exchange`), so that some may never be recorded"
            => "exclude our queues from the pattern of the policy (`rabbitmqctl list_policies`)",
        PolicyDeliveryLimit Warning: "a policy lowers the delivery limit of a queue below what is configured"
            => "remove `delivery-limit` from the policy, or set `queue.delivery_limit` to it",
        ConsumerTimeoutShort Error: "a queue's consumer timeout (argument or policy) is shorter than twice `worker.hold`: the broker closes consumers that wait for the database"
            => "raise `consumer-timeout` in the policy or argument, or lower `worker.hold`",
        NoConsumers Warning: "no worker consumes the work queue"
            => "start `hostmatch serve worker`; its log and `/health/ready` say what it waits for",
        DeadLettersStuck Warning: "dead letters are in their queue, and no worker records them"
            => "start `hostmatch serve worker`, which records them in the table `hostmatch_dead_letters`",
    }
    Edge {
        EdgeUnreachable Error: "the edge at the URL in `--edge` does not answer"
            => "is it running, is the URL correct, does the proxy in front pass `/health/live` through?",
        EdgeNotReady Warning: "the edge answers, but is not ready, or is degraded"
            => "the finding gives the reasons, the edge log the details",
    }
    Gateway {
        Adoption Warning: "tables with our names exist already, created by another program"
            => "`hostmatch migrate up --adopt` changes them to our schema, and keeps every row",
        Migrating Warning: "a migration works differently on this database"
            => "nothing has to be done",
        Trigger Warning: "a trigger runs on writes to `appointments`, or this user cannot see its triggers"
            => "check that it is fast, and correct when a program changes staff_id",
        Rows Warning: "the gateway's rows contain something that affects matching"
            => "the finding says what",
    }
}

impl Code {
    /// Returns the codes from this one to `last`, in the order of the list.
    pub(super) fn to(self, last: Self) -> &'static [Self] {
        &Self::ALL[self as usize..=last as usize]
    }
}

/// A problem, or a fact that an operator must know. It contains no secret.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    pub(crate) code: Code,
    pub(crate) level: Level,
    pub(crate) area: Area,
    /// The object with the problem: a key, a file, a queue, a table.
    pub(crate) subject: String,
    pub(crate) what: String,
    /// The command or key that fixes it.
    pub(crate) remedy: String,
    /// The keys of the affected rows; empty if the finding is not about rows.
    #[serde(skip)]
    pub(crate) rows: Vec<String>,
    /// For the broker's topology: the expected and the actual state.
    #[serde(skip)]
    pub(crate) difference: Option<Difference>,
}

impl Finding {
    /// Creates a finding with the general remedy of its code.
    pub(super) fn new(code: Code, subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            code,
            level: code.level(),
            area: code.area(),
            subject: subject.into(),
            what: what.into(),
            // The general remedies are Markdown, with backquotes.
            remedy: code.remedy().replace('`', ""),
            rows: Vec::new(),
            difference: None,
        }
    }

    pub(super) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

/// A check that was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NotChecked {
    pub(crate) code: Code,
    /// For the broker's topology: what was not checked.
    #[serde(skip)]
    pub(crate) what: String,
    pub(crate) why: String,
}
