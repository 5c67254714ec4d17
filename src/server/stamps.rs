//! Has a file changed? Asked of its metadata, through symbolic links: so a file that an editor has put in the place of another is
//! noticed, and a folder that Kubernetes has swapped under a link.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What was seen of some files at one moment.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Stamps(BTreeMap<PathBuf, Option<Stamp>>);

/// What changes when a file does. Its mode and owner too: they move the last of these times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    /// Looks at these files. Waits for the disk.
    pub(super) fn of(files: impl IntoIterator<Item = PathBuf>) -> Stamps {
        let look = |path: PathBuf| {
            let stamp = fs::metadata(&path).ok().map(|metadata| Stamp {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            });
            (path, stamp)
        };
        Stamps(files.into_iter().map(look).collect())
    }

    /// The files that were looked at.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.0.keys().cloned()
    }

    /// Was this file there?
    pub(super) fn has(&self, file: &Path) -> bool {
        matches!(self.0.get(file), Some(Some(_)))
    }

    /// Is every file that both have looked at the same in both?
    pub(super) fn agrees(&self, other: &Stamps) -> bool {
        self.0.iter().all(|(path, stamp)| other.0.get(path).is_none_or(|seen| seen == stamp))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn every_way_to_change_a_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let file = at("proxy.yaml");
        let mut last = Stamps::of([file.clone()]);
        let mut changed = |what: &str, path: &PathBuf| {
            let now = Stamps::of([path.clone()]);
            assert_ne!(now, last, "{what}");
            last = now;
        };
        fs::write(&file, "one").unwrap();
        changed("made", &file);
        fs::write(&file, "three").unwrap();
        changed("written", &file);
        fs::write(at("new"), "three").unwrap();
        fs::rename(at("new"), &file).unwrap();
        changed("replaced by one of the same size", &file);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        changed("made private", &file);
        fs::remove_file(&file).unwrap();
        changed("removed", &file);

        // As Kubernetes mounts: file -> ..data/file, ..data -> a folder for each version.
        for version in ["v1", "v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("proxy.yaml"), "same").unwrap();
        }
        symlink("v1", at("..data")).unwrap();
        symlink("..data/proxy.yaml", &file).unwrap();
        changed("mounted", &file);
        symlink("v2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        changed("swapped", &file);
        assert_eq!(Stamps::of([file.clone()]), last, "and nothing else has");
    }

    #[test]
    fn only_what_both_have_looked_at_can_differ() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        let before = Stamps::of([a.clone()]);
        fs::write(&b, "").unwrap();
        assert!(before.agrees(&Stamps::of([a.clone(), b.clone()])));
        fs::write(&a, "").unwrap();
        assert!(!before.agrees(&Stamps::of([a, b])));
    }
}
