//! `portcullis keys`: makes, lists and rotates the private JWK set.
//!
//! What must never happen in here: a private member is printed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::keys::{self, Algorithm, KeysError, Rotation, Which};

/// Makes, lists and rotates the keys that tokens are made with.
#[derive(Debug, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new key file: one signing key and one refresh key. An existing file is never overwritten.
    New {
        /// The file to make. Only its owner will be able to read it.
        #[arg(long, value_name = "PATH")]
        file: PathBuf,
        /// The algorithm that access tokens are signed with: EdDSA, ES256, RS256 or HS256.
        #[arg(long, value_name = "ALG", default_value_t = Algorithm::EdDsa)]
        alg: Algorithm,
    },
    /// List the keys of a file: never their secrets.
    List {
        /// The key file.
        #[arg(long, value_name = "PATH")]
        file: PathBuf,
    },
    /// Take the rotation one step further: first add a key that verifies, then, on the next run, sign with it.
    Rotate(RotateArgs),
}

#[derive(Debug, Args)]
struct RotateArgs {
    /// The key file.
    #[arg(long, value_name = "PATH")]
    file: PathBuf,
    /// Which keys to rotate.
    #[arg(long = "use", value_enum, default_value_t = Uses::All)]
    uses: Uses,
    /// Both steps at once: only for a single proxy, or when a key was stolen (then also remove the old one by hand).
    #[arg(long)]
    now: bool,
    /// The algorithm of the new signing key, if it is to be another one.
    #[arg(long, value_name = "ALG")]
    alg: Option<Algorithm>,
    /// How long access tokens live (access_token.lifetime): a retired signing key is kept a day longer.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_duration)]
    access_lifetime: Duration,
    /// How long sessions live (session.lifetime): a retired refresh key is kept a day longer.
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = parse_duration)]
    session_lifetime: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Uses {
    Sig,
    Refresh,
    All,
}

/// Does what was asked for, and says so on standard output.
///
/// # Errors
/// See [`KeysError`].
pub fn run(args: &KeysArgs) -> Result<(), KeysError> {
    let report = execute(&args.command)?;
    // The work is done: that nobody listens to the report is not a failure.
    let _ = std::io::stdout().write_all(report.as_bytes());
    Ok(())
}

fn execute(command: &Command) -> Result<String, KeysError> {
    match command {
        Command::New { file, alg } => {
            keys::create(file, *alg)?;
            Ok(format!(
                "Made {}.\nEvery proxy needs a copy of it; nobody else may see it.\n\n{}",
                file.display(),
                table(file)?
            ))
        }
        Command::List { file } => table(file),
        Command::Rotate(args) => rotate(args),
    }
}

fn rotate(args: &RotateArgs) -> Result<String, KeysError> {
    let which = match args.uses {
        Uses::Sig => Which::Sig,
        Uses::Refresh => Which::Refresh,
        Uses::All => Which::All,
    };
    let rotation = Rotation {
        which,
        at_once: args.now,
        algorithm: args.alg,
        access_lifetime: args.access_lifetime,
        session_lifetime: args.session_lifetime,
    };
    let changes = keys::rotate(&args.file, &rotation)?;
    let mut report = String::new();
    for change in &changes {
        let _ = writeln!(report, "{change}");
    }
    let waiting = changes.iter().any(|change| change.status == Some(keys::KeyStatus::Next)) && !args.now;
    report.push_str(if waiting {
        "\nGive this file to every proxy. Once all of them have read it, run this again: the new key then signs.\n"
    } else {
        "\nGive this file to every proxy. Tokens that were made with the old key stay good.\n"
    });
    Ok(report)
}

/// The keys as a table for people.
fn table(file: &std::path::Path) -> Result<String, KeysError> {
    let mut table = format!("{:43}  {:7}  {:5}  {:7}  age\n", "kid", "use", "alg", "status");
    for key in keys::list(file)? {
        let age = key.age.map_or("unknown".to_owned(), readable);
        let _ = writeln!(table, "{:43}  {:7}  {:5}  {:7}  {age}", key.kid, key.r#use, key.algorithm, key.status);
    }
    Ok(table)
}

/// An age in its largest unit: nobody wants to know the seconds of a key that is a year old.
fn readable(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

/// `90s`, `15m`, `12h`, `30d`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number and a unit: 90s, 15m, 12h or 30d".to_owned();
    let unit_s = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit_s).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        keys: KeysArgs,
    }

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.keys.command)
    }

    #[test]
    fn makes_lists_and_rotates_without_showing_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.jwks");
        let run = |line: &str| execute(&parse(&format!("keys {line} --file {}", file.display())).unwrap()).unwrap();
        let mut shown = run("new --alg es256");
        shown += &run("list");
        let added = run("rotate");
        assert_eq!(added.matches("next: verifies already").count(), 2, "{added}");
        assert!(added.contains("run this again"), "{added}");
        let promoted = run("rotate --use sig");
        assert_eq!(promoted.matches("active: signs from now on").count(), 1, "{promoted}");
        assert_eq!(promoted.matches("retired: still verifies").count(), 1, "{promoted}");
        let listed = run("list");
        assert_eq!(listed.lines().count(), 1 + 4, "{listed}");
        assert!(listed.contains("  sig      ES256  retired  "), "{listed}");
        shown += &format!("{added}{promoted}{listed}");

        let set: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for key in set["keys"].as_array().unwrap() {
            assert!(shown.contains(key["kid"].as_str().unwrap()));
            for secret in ["d", "k"].into_iter().filter_map(|member| key[member].as_str()) {
                assert!(!shown.contains(secret));
            }
        }
    }

    #[test]
    fn what_it_does_not_understand_is_refused_with_what_to_write() {
        for (line, expected) in [
            ("keys new", "--file"),
            ("keys new --file x --alg none", "EdDSA, ES256, RS256 or HS256"),
            ("keys rotate --file x --use enc", "sig, refresh, all"),
            ("keys rotate --file x --session-lifetime 30", "write a number and a unit"),
            ("keys rotate --file x --session-lifetime ü", "write a number and a unit"),
            ("keys rotate --file x --session-lifetime 99999999999999999999d", "write a number and a unit"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn ages() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (86400, "1 d"), (40_000_000, "462 d")]
        {
            assert_eq!(readable(Duration::from_secs(seconds)), text);
        }
    }
}
