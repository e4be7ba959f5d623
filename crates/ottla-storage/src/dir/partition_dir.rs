//! Names of partition directories (`LocalLog.parseTopicPartitionName`, `logDeleteDirName` and its sisters).

use std::fmt;

use ottla_types::TopicPartition;

/// The quorum's log; only in the metadata log directory, and not loaded with the others.
pub const METADATA_PARTITION_DIR: &str = "__cluster_metadata-0";
/// Topic of [`METADATA_PARTITION_DIR`].
pub(super) const METADATA_TOPIC: &str = "__cluster_metadata";
/// A directory of tiered storage among the partitions.
pub(super) const REMOTE_INDEX_CACHE_DIR: &str = "remote-log-index-cache";

/// Longest file name of the file systems we know.
const MAX_NAME_LENGTH: usize = 255;

/// What a partition directory is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartitionDirKind {
    /// The replica itself: `<topic>-<partition>`.
    Current,
    /// The target of a move between log directories: `<topic>-<partition>.<id>-future`.
    Future,
    /// To be removed: `<topic>-<partition>.<id>-delete`.
    Deleted,
    /// Not, or no more, assigned to this node: `<topic>-<partition>.<id>-stray`. Kept until somebody looks at it.
    Stray,
}

/// A partition directory's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDirName {
    /// The partition. Of deleted and stray ones the topic's name may be cut short.
    pub partition: TopicPartition,
    /// What it is there for.
    pub kind: PartitionDirKind,
}

/// A directory name that is none of a partition's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAPartitionDir(pub String);

impl PartitionDirName {
    /// Takes a directory name apart.
    ///
    /// # Errors
    /// It is not the name of a partition directory. Kafka refuses to start then.
    pub fn parse(name: &str) -> Result<Self, NotAPartitionDir> {
        Self::try_parse(name).ok_or_else(|| NotAPartitionDir(name.to_owned()))
    }

    fn try_parse(name: &str) -> Option<Self> {
        use PartitionDirKind::{Current, Deleted, Future, Stray};
        let suffixed = [Deleted, Future, Stray].into_iter().find_map(|kind| {
            let body = name.strip_suffix(kind.suffix())?;
            Some((body, kind))
        });
        let (plain, kind) = match suffixed {
            Some((body, kind)) => {
                if body.contains([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']) {
                    return None;
                }
                let (plain, id) = body.rsplit_once('.')?;
                if id.is_empty() {
                    return None;
                }
                (plain, kind)
            }
            None => (name, Current),
        };
        let (topic, partition) = plain.rsplit_once('-')?;
        if topic.is_empty() {
            return None;
        }
        Some(Self { partition: TopicPartition::new(topic, partition.parse().ok()?), kind })
    }
}

impl PartitionDirKind {
    /// Whether the log in it is in use.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Current | Self::Future)
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Current => "",
            Self::Future => "-future",
            Self::Deleted => "-delete",
            Self::Stray => "-stray",
        }
    }
}

/// The directory name for a partition. `id` tells apart several of one partition (Kafka draws a random UUID) and is not
/// used for [`PartitionDirKind::Current`].
pub fn partition_dir_name(partition: &TopicPartition, kind: PartitionDirKind, id: u128) -> String {
    if kind == PartitionDirKind::Current {
        return partition.to_string();
    }
    let tail = format!("-{}.{id:032x}{}", partition.partition, kind.suffix());
    let topic = match kind {
        // Never cut, or the partition could not be found again; so a very long topic name cannot be moved.
        PartitionDirKind::Future => partition.topic.as_str(),
        _ => {
            let room = MAX_NAME_LENGTH.saturating_sub(tail.len());
            partition.topic.get(..room).unwrap_or(&partition.topic)
        }
    };
    format!("{topic}{tail}")
}

impl fmt::Display for NotAPartitionDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not in the form of topic-partition or topic-partition.uniqueId-delete (if marked for deletion)",
            self.0
        )
    }
}

impl std::error::Error for NotAPartitionDir {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> Option<(String, PartitionDirKind)> {
        PartitionDirName::parse(name).ok().map(|found| (found.partition.to_string(), found.kind))
    }

    #[test]
    fn takes_names_apart_as_kafka_does() {
        use PartitionDirKind::{Current, Deleted, Future, Stray};
        for (name, partition, kind) in [
            ("t-0", "t-0", Current),
            ("a-b.c_d-12", "a-b.c_d-12", Current),
            ("t.0123-delete-3", "t.0123-delete-3", Current),
            ("t-0.0123456789abcdef0123456789abcdef-delete", "t-0", Deleted),
            ("a.b-c-7.0123456789abcdef0123456789abcdef-future", "a.b-c-7", Future),
            ("t-0.x-stray", "t-0", Stray),
            ("__consumer_offsets-49", "__consumer_offsets-49", Current),
        ] {
            assert_eq!(parsed(name), Some((partition.to_owned(), kind)), "{name}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for name in [
            "lost+found",
            "",
            "-",
            "t",
            "t-",
            "-0",
            "t-x",
            "t-99999999999",
            "-delete",
            "t-0-delete",
            "t-0.-delete",
            "t 1-0.x-delete",
            "t-0.x-delete-",
        ] {
            assert_eq!(parsed(name), None, "{name}");
        }
    }

    #[test]
    fn made_names_are_cut_to_what_file_systems_take_and_parse_again() {
        let long = TopicPartition::new(&"t".repeat(249), 12);
        let id = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
        for kind in [PartitionDirKind::Deleted, PartitionDirKind::Stray] {
            let name = partition_dir_name(&long, kind, id);
            assert_eq!(name.len(), 255);
            let found = PartitionDirName::parse(&name).unwrap();
            assert_eq!((found.partition.partition, found.kind), (12, kind));
        }
        let short = TopicPartition::new("a.b-c", 3);
        assert_eq!(partition_dir_name(&short, PartitionDirKind::Current, id), "a.b-c-3");
        let name = partition_dir_name(&short, PartitionDirKind::Future, id);
        assert_eq!(name, "a.b-c-3.0123456789abcdef0123456789abcdef-future");
        assert_eq!(parsed(&name), Some(("a.b-c-3".to_owned(), PartitionDirKind::Future)));
    }
}
