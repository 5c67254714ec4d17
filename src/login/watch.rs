//! Notices accounts that disappear from the users file, so that their sessions can be ended without waiting for anybody.
//!
//! What must never happen in here: a file that is missing, broken or half-written takes an account for removed. Ending a
//! session cannot be taken back, so a removal is believed when two looks in a row have seen it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::users::Users;
use super::users_file::UsersFile;

/// How often the file's metadata is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What has been seen so far, in this file or in one that was configured before it.
#[derive(Default)]
pub(super) struct Watch {
    last: Option<Arc<Users>>,
    /// Accounts that were there, and were not at the last look.
    missing: BTreeSet<String>,
    /// Accounts that are gone, which nobody has been told yet.
    untold: BTreeSet<String>,
}

impl Watch {
    /// Looks until nobody listens. Nothing is lost if it is dropped at any moment, and begun again later.
    pub(super) async fn run(&mut self, file: &UsersFile, removed: mpsc::Sender<String>) {
        loop {
            // A file that cannot be read says nothing: what it said last still holds.
            if let Ok(users) = file.users().await {
                let gone = self.look(users);
                self.untold.extend(gone);
            }
            while !self.untold.is_empty() {
                let Ok(room) = removed.reserve().await else { return };
                let Some(name) = self.untold.pop_first() else { break };
                room.send(name);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = removed.closed() => return,
            }
        }
    }

    /// The accounts that were there before the last look, and are at neither look since.
    fn look(&mut self, users: Arc<Users>) -> BTreeSet<String> {
        let gone: BTreeSet<String> =
            std::mem::take(&mut self.missing).into_iter().filter(|name| users.get(name).is_none()).collect();
        if let Some(last) = self.last.replace(Arc::clone(&users))
            && !Arc::ptr_eq(&last, &users)
        {
            let names = last.entries().keys();
            self.missing = names.filter(|name| users.get(name).is_none()).cloned().collect();
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::login::HashLimits;
    use crate::login::users::Entry;
    use crate::login::users_file::parse::parse;

    const HASH: &str = "$2y$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie";

    fn text(names: &[&str]) -> String {
        names.iter().map(|name| format!("{name}:\n  password: {HASH}\n")).collect()
    }

    fn users(names: &[&str]) -> Arc<Users> {
        let entries: BTreeMap<String, Entry> = match names {
            [] => BTreeMap::new(),
            _ => parse(&text(names), &HashLimits::default()).unwrap().entries().clone(),
        };
        Arc::new(Users::new(entries))
    }

    /// What each look at these accounts finds removed.
    fn looks(files: &[&[&str]]) -> Vec<Vec<String>> {
        let mut watch = Watch::default();
        files.iter().map(|names| watch.look(users(names)).into_iter().collect()).collect()
    }

    #[test]
    fn a_removal_is_believed_at_the_second_look_and_told_once() {
        assert_eq!(looks(&[&["ann", "bob"], &["ann"], &["ann"], &["ann"]]), [vec![], vec![], vec!["bob"], vec![]]);
        // Each on its own time.
        assert_eq!(looks(&[&["ann", "bob"], &["ann"], &[], &[]]), [vec![], vec![], vec!["bob"], vec!["ann"]]);
        // Somebody who was never there is not removed, and whoever is there at the start is not new.
        assert_eq!(looks(&[&[], &["ann"], &["ann"]]), [vec![] as Vec<&str>, vec![], vec![]]);
    }

    #[test]
    fn who_is_back_at_the_next_look_was_never_gone() {
        let gone = looks(&[&["ann", "bob"], &["ann"], &["ann", "bob"], &["ann", "bob"]]);
        assert!(gone.iter().all(Vec::is_empty), "{gone:?}");
        let later = looks(&[&["ann", "bob"], &["ann"], &["ann", "bob"], &["ann"], &["ann"]]);
        assert_eq!(later, [vec![], vec![], vec![], vec![], vec!["bob"]]);
    }

    #[tokio::test]
    async fn a_file_that_is_broken_or_missing_removes_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        fs::write(&path, text(&["ann", "bob"])).unwrap();
        let file = UsersFile::open(&path, HashLimits::default()).unwrap();
        let (tell, mut told) = mpsc::channel(8);
        let watching = tokio::spawn(async move { Watch::default().run(&file, tell).await });

        // Longer than two looks take.
        let nobody = async |told: &mut mpsc::Receiver<String>, what: &str| {
            let heard = tokio::time::timeout(LOOK_EVERY * 3, told.recv()).await;
            assert!(heard.is_err(), "{what}: {heard:?}");
        };
        nobody(&mut told, "at the start").await;
        fs::write(&path, "ann: {").unwrap();
        nobody(&mut told, "broken").await;
        fs::remove_file(&path).unwrap();
        nobody(&mut told, "missing").await;
        // What happened meanwhile is seen when the file is back.
        fs::write(&path, text(&["ann"])).unwrap();
        let removed = tokio::time::timeout(Duration::from_secs(15), told.recv()).await;
        assert_eq!(removed.unwrap().as_deref(), Some("bob"));

        drop(told);
        tokio::time::timeout(Duration::from_secs(15), watching).await.unwrap().unwrap();
    }
}
