//! `meta.properties`: which cluster, node and directory a log directory belongs to (`MetaProperties`,
//! `MetaPropertiesEnsemble`).

use std::io;
use std::path::{Path, PathBuf};

use ottla_types::{NodeId, Uuid};

use super::properties;
use crate::fs::{Fs, read_file, replace_file};

/// Name of the file in a log directory.
pub const META_PROPERTIES: &str = "meta.properties";
/// Limit for reading it; ordinary ones have some 130 bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Which keys a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaVersion {
    /// From the time of ZooKeeper: `broker.id` instead of `node.id`, nothing obligatory.
    V0,
    /// KRaft: `cluster.id` and `node.id` obligatory.
    V1,
}

/// The contents of `meta.properties`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// Which keys the file has.
    pub version: MetaVersion,
    /// `cluster.id`.
    pub cluster_id: Option<String>,
    /// `node.id`, in version 0 `broker.id`.
    pub node_id: Option<NodeId>,
    /// `directory.id`; made at the first start that finds none.
    pub directory_id: Option<Uuid>,
}

/// Why a directory's `meta.properties` gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum MetaPropertiesError {
    /// The operating system refused; `NotFound` means that the directory is not formatted.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The text breaks a rule of the format.
    #[error("{} is malformed: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The broken rule.
        what: String,
    },
}

impl MetaProperties {
    /// What a newly formatted directory gets.
    pub fn new(cluster_id: &str, node_id: NodeId, directory_id: Uuid) -> Self {
        Self {
            version: MetaVersion::V1,
            cluster_id: Some(cluster_id.to_owned()),
            node_id: Some(node_id),
            directory_id: Some(directory_id),
        }
    }

    /// Reads the file of a log directory; `None` when there is none: the directory is not formatted.
    ///
    /// # Errors
    /// The file cannot be read or does not follow the format.
    pub fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>, MetaPropertiesError> {
        let path = dir.join(META_PROPERTIES);
        match read_file(fs, &path, MAX_BYTES) {
            Ok(bytes) => {
                Self::parse(&bytes).map(Some).map_err(|what| MetaPropertiesError::Malformed { path, what })
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MetaPropertiesError::Io { path, source }),
        }
    }

    /// Replaces the file of a log directory, atomically and durably.
    ///
    /// # Errors
    /// As [`replace_file`].
    pub fn write(&self, fs: &dyn Fs, dir: &Path) -> io::Result<()> {
        replace_file(fs, &dir.join(META_PROPERTIES), self.format().as_bytes())
    }

    /// Parses the file's bytes.
    ///
    /// # Errors
    /// The broken rule, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let pairs = properties::parse(bytes).map_err(|_| "a \\u without four hex digits".to_owned())?;
        let number = |key: &str| {
            let text = pairs.get(key)?;
            Some(text.trim().parse::<i32>().map_err(|_| format!("{key} {text:?} is not a number")))
        };
        let version = match number("version").unwrap_or(Ok(0))? {
            0 => MetaVersion::V0,
            1 => MetaVersion::V1,
            other => return Err(format!("unknown version {other}")),
        };
        let node_id = number(version.node_id_key()).transpose()?.map(NodeId);
        let cluster_id = pairs.get("cluster.id").cloned();
        if version == MetaVersion::V1 {
            let missing = if node_id.is_none() { Some("node.id") } else { None };
            let missing = missing.or(if cluster_id.is_none() { Some("cluster.id") } else { None });
            if let Some(key) = missing {
                return Err(format!("{key} is missing"));
            }
        }
        let directory_id = match pairs.get("directory.id") {
            Some(text) => Some(text.parse::<Uuid>().map_err(|e| format!("directory.id {e}"))?),
            None => None,
        };
        Ok(Self { version, cluster_id, node_id, directory_id })
    }

    /// The file's text.
    pub fn format(&self) -> String {
        let node_id = self.node_id.map(|id| id.value().to_string());
        let directory_id = self.directory_id.map(|id| id.to_string());
        let pairs = [
            ("cluster.id", self.cluster_id.as_deref()),
            ("directory.id", directory_id.as_deref()),
            (self.version.node_id_key(), node_id.as_deref()),
            ("version", Some(self.version.number())),
        ];
        let pairs: Vec<_> = pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        properties::format(&pairs)
    }
}

impl MetaVersion {
    fn number(self) -> &'static str {
        match self {
            Self::V0 => "0",
            Self::V1 => "1",
        }
    }

    fn node_id_key(self) -> &'static str {
        match self {
            Self::V0 => "broker.id",
            Self::V1 => "node.id",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6Cb4YfTTTqqQkRz6PvTqwQ";

    #[test]
    fn reads_what_kafka_writes() {
        let text = format!(
            "#\n#Thu Jan 01 00:00:00 UTC 1970\nnode.id=1\ndirectory.id={ID}\nversion=1\ncluster.id=5L6g3nShT-eMCtK--X86sw\n"
        );
        let expected = MetaProperties::new("5L6g3nShT-eMCtK--X86sw", NodeId(1), ID.parse().unwrap());
        assert_eq!(MetaProperties::parse(text.as_bytes()), Ok(expected.clone()));
        assert_eq!(MetaProperties::parse(expected.format().as_bytes()), Ok(expected));
    }

    #[test]
    fn version_0_needs_nothing_and_calls_the_node_broker() {
        let empty =
            MetaProperties { version: MetaVersion::V0, cluster_id: None, node_id: None, directory_id: None };
        assert_eq!(MetaProperties::parse(b""), Ok(empty));
        let old = MetaProperties::parse(b"version=0\nbroker.id=7\nnode.id=8\n").unwrap();
        assert_eq!(old.node_id, Some(NodeId(7)));
        assert_eq!(MetaProperties::parse(old.format().as_bytes()), Ok(old));
    }

    #[test]
    fn refuses_what_breaks_the_rules() {
        for (text, reason) in [
            ("version=2", "unknown version 2"),
            ("version=x", "version \"x\" is not a number"),
            ("version=1\ncluster.id=c", "node.id is missing"),
            ("version=1\nnode.id=1", "cluster.id is missing"),
            ("version=1\nnode.id=one\ncluster.id=c", "node.id \"one\" is not a number"),
            ("version=1\nnode.id=1\ncluster.id=\\u1", "a \\u without four hex digits"),
        ] {
            assert_eq!(MetaProperties::parse(text.as_bytes()), Err(reason.to_owned()));
        }
        assert!(
            MetaProperties::parse(b"directory.id=xyz")
                .unwrap_err()
                .starts_with("directory.id 'xyz' is not an id")
        );
    }
}
