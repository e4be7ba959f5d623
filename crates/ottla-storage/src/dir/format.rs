//! Formatting: giving empty directories their `meta.properties` (`kafka-storage format`).

use std::path::{Path, PathBuf};

use ottla_types::{NodeId, Uuid};

use super::StartError;
use super::meta_properties::{META_PROPERTIES, MetaProperties};
use crate::fs::Fs;

/// What directories are to be formatted for.
#[derive(Clone, Copy, Debug)]
pub struct Format<'a> {
    /// All of `log.dirs`, and `metadata.log.dir` if that is another.
    pub dirs: &'a [PathBuf],
    /// The cluster to join or found.
    pub cluster_id: &'a str,
    /// The node that the directories are for.
    pub node_id: NodeId,
    /// Directory ids that are decided already: an initial voter's metadata directory has the one that the voter list says.
    pub directory_ids: &'a [(PathBuf, Uuid)],
    /// Leave directories alone that are formatted for this very cluster and node, instead of refusing.
    pub ignore_formatted: bool,
}

/// What formatting will do: decided and checked, not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatPlan {
    /// Directories to format and what they get.
    pub to_format: Vec<(PathBuf, MetaProperties)>,
    /// Directories that are formatted already.
    pub formatted: Vec<PathBuf>,
    /// Directories that cannot be read, and why; they are left out.
    pub unreadable: Vec<(PathBuf, String)>,
}

impl Format<'_> {
    /// Looks at the directories and decides. `new_id` draws directory ids (see [`Uuid::from_random`]).
    ///
    /// # Errors
    /// A directory is formatted for another cluster or node, or formatted at all without
    /// [`Format::ignore_formatted`]; or nothing can be read.
    pub fn plan(&self, fs: &dyn Fs, new_id: &mut dyn FnMut() -> Uuid) -> Result<FormatPlan, StartError> {
        let mut plan = FormatPlan { to_format: Vec::new(), formatted: Vec::new(), unreadable: Vec::new() };
        let mut empty = Vec::new();
        let mut used: Vec<Uuid> = self.directory_ids.iter().map(|(_, id)| *id).collect();
        for dir in self.dirs {
            match MetaProperties::read(fs, dir) {
                Ok(Some(found)) => {
                    self.check(dir, &found)?;
                    used.extend(found.directory_id);
                    plan.formatted.push(dir.clone());
                }
                Ok(None) => empty.push(dir),
                Err(error) => plan.unreadable.push((dir.clone(), error.to_string())),
            }
        }
        if let Some(first) = plan.formatted.first()
            && !self.ignore_formatted
        {
            return Err(StartError::AlreadyFormatted(first.clone()));
        }
        if empty.is_empty() && plan.formatted.is_empty() {
            return Err(match plan.unreadable.is_empty() {
                true => StartError::NoDirs,
                false => {
                    StartError::NothingReadable(plan.unreadable.into_iter().map(|(_, why)| why).collect())
                }
            });
        }
        for dir in empty {
            let decided = self.directory_ids.iter().find(|(of, _)| of == dir).map(|(_, id)| *id);
            let id = decided.unwrap_or_else(|| fresh_id(&used, new_id));
            used.push(id);
            plan.to_format.push((dir.clone(), MetaProperties::new(self.cluster_id, self.node_id, id)));
        }
        Ok(plan)
    }

    fn check(&self, dir: &Path, found: &MetaProperties) -> Result<(), StartError> {
        match (&found.cluster_id, found.node_id) {
            (Some(cluster), _) if cluster != self.cluster_id => Err(StartError::WrongCluster {
                dir: dir.to_owned(),
                found: cluster.clone(),
                expected: self.cluster_id.to_owned(),
            }),
            (_, Some(found)) if found != self.node_id => {
                Err(StartError::WrongNode { dir: dir.to_owned(), found, expected: self.node_id })
            }
            _ => Ok(()),
        }
    }
}

impl FormatPlan {
    /// Creates the directories, without which nothing else can be put into them: the initial snapshot of the metadata log
    /// belongs there before [`FormatPlan::finish`] declares them formatted.
    ///
    /// # Errors
    /// [`StartError::CannotFormat`].
    pub fn create_dirs(&self, fs: &dyn Fs) -> Result<(), StartError> {
        for (dir, _) in &self.to_format {
            create_dir_durably(fs, dir)?;
        }
        Ok(())
    }

    /// Writes each `meta.properties`, the last step of formatting.
    ///
    /// # Errors
    /// [`StartError::CannotFormat`] at the first directory that fails; those before it are formatted.
    pub fn finish(&self, fs: &dyn Fs) -> Result<(), StartError> {
        self.create_dirs(fs)?;
        for (dir, meta) in &self.to_format {
            meta.write(fs, dir)
                .map_err(|source| StartError::CannotFormat { dir: dir.join(META_PROPERTIES), source })?;
        }
        Ok(())
    }
}

/// Draws an id that is neither reserved nor used; bounded, so that a broken source shows as a duplicate, not as a hang.
pub(super) fn fresh_id(used: &[Uuid], new_id: &mut dyn FnMut() -> Uuid) -> Uuid {
    let mut id = new_id();
    for _ in 0..100 {
        if !id.is_reserved() && !used.contains(&id) {
            break;
        }
        id = new_id();
    }
    id
}

fn create_dir_durably(fs: &dyn Fs, dir: &Path) -> Result<(), StartError> {
    let result = fs.create_dir_all(dir).and_then(|()| match dir.parent() {
        Some(parent) if parent != Path::new("") => fs.sync_dir(parent),
        _ => Ok(()),
    });
    result.map_err(|source| StartError::CannotFormat { dir: dir.to_owned(), source })
}
