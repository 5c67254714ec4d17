//! `portcullis user add|passwd|remove|list`: manages the accounts of a users file.
//!
//! What must never happen in here: a password is taken from the command line, where every process can read it; an edit
//! changes anything but what was asked for.

mod edit;
mod replace;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use secrecy::{ExposeSecret, SecretString};

use self::edit::{Change, EditError};
use self::replace::Exclusive;
use crate::login::password::{HashFailed, PASSWORD_BYTES_MAX, PasswordHash};
use crate::login::users::{Entry, Users, check_name, check_role, check_scope};
use crate::login::users_file::parse::{Format, format_of, parse};
use crate::login::users_file::read_text;
use crate::login::{HashLimits, UsersFileError};

/// What a new file begins with.
const HEADER: &str = "# Who may log in. Managed by `portcullis user`, and by hand: a change counts at once.\n";

/// Manage the accounts of a users file.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The users file.
    #[arg(long, global = true, value_name = "FILE", default_value = "users.yaml")]
    file: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Add an account; asks for its password. Makes the file if there is none.
    Add {
        /// The name to log in with.
        #[arg(value_parser = checked(check_name))]
        name: String,
        /// A role; can be given several times.
        #[arg(long = "role", value_name = "ROLE", value_parser = checked(check_role))]
        roles: Vec<String>,
        /// A scope; can be given several times.
        #[arg(long = "scope", value_name = "SCOPE", value_parser = checked(check_scope))]
        scopes: Vec<String>,
        /// Read the password from standard input, one line, instead of asking on the terminal.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Give an account another password; asks for it.
    Passwd {
        /// The account's name.
        name: String,
        /// Read the password from standard input, one line, instead of asking on the terminal.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Remove an account. Proxies that follow the file end its sessions within seconds.
    Remove {
        /// The account's name.
        name: String,
    },
    /// List the accounts: name, kind of password hash, roles, scopes.
    List,
}

fn checked(check: fn(&str) -> Result<(), &'static str>) -> impl Fn(&str) -> Result<String, &'static str> + Clone {
    move |text| check(text).map(|()| text.to_owned())
}

/// Why a command was not carried out. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The file cannot be read or understood.
    #[error(transparent)]
    File(#[from] UsersFileError),
    /// It has the shape of an htpasswd file.
    #[error(
        "{0} is an htpasswd file, which is read and not edited; use `htpasswd -B {0} NAME` (-D removes), or start a \
         users file in YAML with `portcullis user add NAME --file users.yaml`"
    )]
    Htpasswd(String),
    /// `add` of a name that is there.
    #[error("{file} has a user {name:?} already; give it another password with `portcullis user passwd`")]
    Exists {
        /// The file.
        file: String,
        /// The user.
        name: String,
    },
    /// `passwd` or `remove` of a name that is not there.
    #[error("{file} has no user {name:?}; `portcullis user list` shows who is there")]
    Unknown {
        /// The file.
        file: String,
        /// The user.
        name: String,
    },
    /// The password was not given, or cannot be one.
    #[error("{0}")]
    Password(String),
    /// The password could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashFailed),
    /// The file is written in a way that cannot be edited safely.
    #[error("{file} was left as it is: {problem}")]
    Edit {
        /// The file.
        file: String,
        /// Why.
        problem: EditError,
    },
    /// The file cannot be written.
    #[error("{file} cannot be written: {problem}")]
    Write {
        /// The file.
        file: String,
        /// Why.
        problem: io::Error,
    },
    /// Nobody listens to the answer.
    #[error("cannot print: {0}")]
    Print(#[source] io::Error),
}

/// Carries out the command, on this process's terminal.
pub fn run(args: &Args) -> Result<(), UserError> {
    let ask = |prompt: &str| rpassword::prompt_password(prompt).map(SecretString::from);
    run_with(args, &mut Console { input: &mut io::stdin(), ask: &mut { ask }, output: &mut io::stdout() })
}

/// Whom the command talks to.
struct Console<'a> {
    /// Where `--password-stdin` reads.
    input: &'a mut dyn Read,
    /// Asks for a secret on the terminal, without echo.
    ask: &'a mut dyn FnMut(&str) -> io::Result<SecretString>,
    output: &'a mut dyn Write,
}

fn run_with(args: &Args, console: &mut Console<'_>) -> Result<(), UserError> {
    let file = &args.file;
    let shown = file.display();
    match &args.command {
        Command::Add { name, roles, scopes, password_stdin } => {
            // Said before the password is asked for; what counts is what is found once the file is held.
            if file.exists() {
                expect(file, &editable(file)?.1, name, false)?;
            }
            let password = hash(&console.password(*password_stdin)?)?;
            let entry = Entry { password, roles: roles.clone(), scopes: scopes.clone() };
            change(file, name, &Change::Add { name, entry: &entry })?;
            console.say(format_args!("added {name:?} to {shown}"))
        }
        Command::Passwd { name, password_stdin } => {
            expect(file, &editable(file)?.1, name, true)?;
            let password = hash(&console.password(*password_stdin)?)?;
            change(file, name, &Change::SetPassword { name, password: &password })?;
            console.say(format_args!("changed the password of {name:?} in {shown}; sessions that exist go on"))
        }
        Command::Remove { name } => {
            change(file, name, &Change::Remove { name })?;
            console.say(format_args!("removed {name:?} from {shown}; running proxies end its sessions within seconds"))
        }
        Command::List => console.list(&read(file)?.1),
    }
}

/// Makes one change while nobody else does.
fn change(file: &Path, name: &str, change: &Change<'_>) -> Result<(), UserError> {
    let shown = || file.display().to_string();
    let cannot_write = |problem| UserError::Write { file: shown(), problem };
    let exclusive = Exclusive::hold(file).map_err(cannot_write)?;
    let adding = matches!(change, Change::Add { .. });
    let (text, users) = match adding && !exclusive.exists() {
        true => (HEADER.to_owned(), Users::new(Default::default())),
        false => editable(file)?,
    };
    expect(file, &users, name, !adding)?;
    let text = edit::apply(&text, &users, change).map_err(|problem| UserError::Edit { file: shown(), problem })?;
    exclusive.replace(&text).map_err(cannot_write)
}

fn read(file: &Path) -> Result<(String, Users), UserError> {
    let text = read_text(file)?;
    let users = parse(&text, &HashLimits::UNLIMITED).map_err(|problem| UsersFileError {
        path: file.to_owned(),
        position: problem.position,
        problem: problem.text,
    })?;
    Ok((text, users))
}

fn editable(file: &Path) -> Result<(String, Users), UserError> {
    match read_text(file)? {
        text if format_of(&text) == Format::Htpasswd => Err(UserError::Htpasswd(file.display().to_string())),
        text if edit::is_blank(&text) => Ok((text, Users::new(Default::default()))),
        _ => read(file),
    }
}

fn expect(file: &Path, users: &Users, name: &str, there: bool) -> Result<(), UserError> {
    let (file, name) = (file.display().to_string(), name.to_owned());
    match (users.get(&name).is_some(), there) {
        (true, false) => Err(UserError::Exists { file, name }),
        (false, true) => Err(UserError::Unknown { file, name }),
        _ => Ok(()),
    }
}

fn hash(password: &SecretString) -> Result<PasswordHash, UserError> {
    let password = password.expose_secret().as_bytes();
    match password.len() {
        0 => Err(UserError::Password("the password is empty".to_owned())),
        1..=PASSWORD_BYTES_MAX => Ok(PasswordHash::make(password)?),
        _ => Err(UserError::Password(format!("the password is longer than {PASSWORD_BYTES_MAX} bytes"))),
    }
}

impl Console<'_> {
    fn password(&mut self, from_input: bool) -> Result<SecretString, UserError> {
        if from_input {
            return self.password_from_input();
        }
        let no_terminal = |error| {
            UserError::Password(format!(
                "cannot ask on a terminal ({error}); pipe the password in with --password-stdin"
            ))
        };
        let password = (self.ask)("New password: ").map_err(no_terminal)?;
        let again = (self.ask)("The same again: ").map_err(no_terminal)?;
        match password.expose_secret() == again.expose_secret() {
            true => Ok(password),
            false => Err(UserError::Password("the two passwords differ; nothing was changed".to_owned())),
        }
    }

    /// One line, without its end.
    fn password_from_input(&mut self) -> Result<SecretString, UserError> {
        let refuse = |problem: &str| UserError::Password(format!("standard input {problem}"));
        let mut text = String::new();
        let read = self.input.take(PASSWORD_BYTES_MAX as u64 + 3).read_to_string(&mut text);
        let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        let password = match read {
            Err(error) => Err(refuse(&format!("cannot be read: {error}"))),
            Ok(_) if line.contains(['\n', '\r', '\0']) => {
                Err(refuse("has more than one line; send the password alone"))
            }
            Ok(_) => Ok(SecretString::from(line)),
        };
        drop(SecretString::from(text)); // which wipes it
        password
    }

    fn list(&mut self, users: &Users) -> Result<(), UserError> {
        let list = |texts: &[String]| if texts.is_empty() { "-".to_owned() } else { texts.join(",") };
        let mut rows = vec![["NAME", "PASSWORD", "ROLES", "SCOPES"].map(str::to_owned)];
        rows.extend(users.entries().iter().map(|(name, entry)| {
            [name.clone(), entry.password.cost().to_string(), list(&entry.roles), list(&entry.scopes)]
        }));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2)];
        for [name, password, roles, scopes] in &rows {
            let [first, second, third] = widths;
            self.say(format_args!("{name:first$}  {password:second$}  {roles:third$}  {scopes}"))?;
        }
        Ok(())
    }

    fn say(&mut self, text: std::fmt::Arguments<'_>) -> Result<(), UserError> {
        writeln!(self.output, "{text}").map_err(UserError::Print)
    }
}

#[cfg(test)]
mod tests;
