//! The files that a configuration names: they are there, they can be read, and secrets are not for everybody.
//!
//! Who may read a secret: its owner and its group. Group, because that is how Kubernetes hands secrets to a process that
//! is not root (`fsGroup`); others never.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::errors::{Place, Warning};
use super::item::Context;

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FileKind {
    /// A certificate: anybody may read it.
    Public,
    /// A private key.
    Secret,
    /// The private JWK set.
    Keys,
    /// Who may log in.
    Users,
    /// A file that holds the password of Redis and nothing else.
    RedisPassword,
    /// A file that holds the token of the admin listener and nothing else.
    AdminToken,
    /// A part of the login page: anybody may read it, and it is sent with every page.
    LoginPage,
}

/// A file, and where it is named.
pub(super) struct FileUse {
    pub place: Place,
    pub path: PathBuf,
    pub kind: FileKind,
}

/// A token for the admin listener is not shorter: it must not be guessed.
const ADMIN_TOKEN_CHARS_MIN: usize = 32;
/// A login page is made for phones, too.
const LOGIN_PAGE_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Looks at every file that was named, and gives the token for the admin listener, if one was.
pub(super) fn check(cx: &Context<'_>) -> Option<SecretString> {
    let mut admin_token = None;
    for used in cx.files.borrow().iter() {
        let shown = used.path.display();
        let (mut file, metadata) = match open(used) {
            Ok(opened) => opened,
            Err(why) => {
                cx.error(used.place.clone(), format!("{shown}: {why}"));
                continue;
            }
        };
        let for_all = metadata.permissions().mode() & 0o007 != 0;
        match used.kind {
            FileKind::Public => {}
            FileKind::LoginPage if metadata.len() > LOGIN_PAGE_FILE_BYTES_MAX => {
                let kib = LOGIN_PAGE_FILE_BYTES_MAX / 1024;
                cx.error(used.place.clone(), format!("{shown} is larger than {kib} KiB; make it smaller"));
            }
            FileKind::LoginPage => {}
            FileKind::Users if for_all => cx.warnings.borrow_mut().push(Warning {
                place: used.place.clone(),
                message: format!("everybody on this machine can read the password hashes; run `chmod 640 {shown}`"),
            }),
            FileKind::Users => {}
            FileKind::Secret | FileKind::Keys | FileKind::RedisPassword | FileKind::AdminToken if for_all => cx.error(
                used.place.clone(),
                format!(
                    "everybody on this machine can read or change {shown}; run `chmod 640 {shown}` (in Docker: the secret's \
                     `mode: 0440`, in Kubernetes: `defaultMode: 0440`)"
                ),
            ),
            FileKind::Secret | FileKind::Keys => {}
            FileKind::RedisPassword => match only_line(&mut file) {
                Ok(text) if text.expose_secret().is_empty() => {
                    cx.error(used.place.clone(), format!("{shown} is empty; write the password into it"));
                }
                Ok(_) => {}
                Err(why) => cx.error(used.place.clone(), format!("{shown} cannot be read: {why}")),
            },
            FileKind::AdminToken => match only_line(&mut file) {
                Ok(text) if !is_admin_token(&text) => {
                    cx.error(
                        used.place.clone(),
                        format!(
                            "{shown} holds no token; write {ADMIN_TOKEN_CHARS_MIN} random characters or more into it, \
                             such as `openssl rand -hex 32` gives"
                        ),
                    );
                }
                Ok(text) => admin_token = Some(text),
                Err(why) => cx.error(used.place.clone(), format!("{shown} cannot be read: {why}")),
            },
        }
    }
    admin_token
}

/// Can it be the token for the admin listener?
pub(super) fn is_admin_token(text: &SecretString) -> bool {
    let text = text.expose_secret();
    text.len() >= ADMIN_TOKEN_CHARS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Warns of secrets that stand in a configuration that everybody can read.
pub(super) fn warn_of_open_secrets(cx: &Context<'_>) {
    let is_open = std::fs::metadata(cx.origin).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0);
    for place in cx.secrets.take().into_iter().filter(|place| is_open && place.line > 0) {
        let file = cx.origin.display();
        let message = format!(
            "everybody on this machine can read this secret; run `chmod 640 {file}`, or name a file in its place (`…_file`) or a \
             variable (`…_env`)"
        );
        cx.warnings.borrow_mut().push(Warning { place, message });
    }
}

/// The text of a file, without the end of its last line.
fn only_line(file: &mut File) -> std::io::Result<SecretString> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(SecretString::from(text))
}

fn open(used: &FileUse) -> Result<(File, Metadata), String> {
    let hint = match used.kind {
        FileKind::Users => "; make it with `portcullis user add`".to_owned(),
        FileKind::Keys => format!("; make it with `portcullis keys new --file {}`", used.path.display()),
        FileKind::AdminToken => {
            format!("; make it with `(umask 077 && openssl rand -hex 32 > {})`", used.path.display())
        }
        FileKind::Public | FileKind::Secret | FileKind::RedisPassword | FileKind::LoginPage => String::new(),
    };
    let opened = File::open(&used.path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    match opened {
        Ok((_, metadata)) if !metadata.is_file() => Err("this is not a file".into()),
        Ok(opened) => Ok(opened),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Err(format!("there is no such file{hint}")),
        Err(why) => Err(format!("it cannot be read: {why}")),
    }
}
