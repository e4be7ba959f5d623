//! What is measured: Apache Kafka, and ottla with each durability policy.

use std::path::PathBuf;

/// Durability policies of ottla (`log.durability.policy`), in the order of the tables.
pub(super) const POLICIES: &[&str] = &["page-cache", "sync"];
/// The policy of scenarios that do not depend on it: ottla's default.
pub(super) const DEFAULT_POLICY: &str = "sync";
/// The name of Apache Kafka in tables and results.
pub(super) const KAFKA: &str = "Apache Kafka 4.4.0";

/// The JVM's options in the start scripts of Apache Kafka 4.4.0.
pub(super) const KAFKA_JVM: &[&str] = &[
    "-Xms1g",
    "-Xmx1g",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
];

/// One column of the tables.
#[derive(Clone, Debug)]
pub(super) enum System {
    /// Apache Kafka from its jars.
    Kafka {
        /// Where they are.
        jars: PathBuf,
    },
    /// The release binary.
    Ottla {
        /// Where it is.
        binary: PathBuf,
        /// Its durability policy.
        policy: &'static str,
    },
    /// The machine itself, without a server.
    Machine,
}

/// Which systems a scenario compares.
#[derive(Clone, Copy, Debug)]
pub(super) enum Compared {
    /// Apache Kafka and ottla with every policy.
    Policies,
    /// Apache Kafka and ottla as it comes.
    Default,
    /// Nothing: the limits of the machine.
    Machine,
}

impl System {
    /// The name of the machine in tables and results.
    pub(super) const MACHINE: &str = "this machine";

    /// The name in tables and results.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Kafka { .. } => KAFKA.to_owned(),
            Self::Ottla { policy, .. } => ottla(policy),
            Self::Machine => Self::MACHINE.to_owned(),
        }
    }

    /// Whether it is Apache Kafka.
    pub(super) fn is_kafka(&self) -> bool {
        matches!(self, Self::Kafka { .. })
    }
}

/// The name of ottla with a policy in tables and results.
pub(super) fn ottla(policy: &str) -> String {
    format!("ottla, {policy}")
}

impl Compared {
    /// The systems, Apache Kafka first.
    pub(super) fn systems(self, jars: &std::path::Path, binary: &std::path::Path) -> Vec<System> {
        let ottla = |policy: &'static str| System::Ottla { binary: binary.to_owned(), policy };
        let kafka = System::Kafka { jars: jars.to_owned() };
        match self {
            Self::Policies => std::iter::once(kafka).chain(POLICIES.iter().copied().map(ottla)).collect(),
            Self::Default => vec![kafka, ottla(DEFAULT_POLICY)],
            Self::Machine => vec![System::Machine],
        }
    }
}
