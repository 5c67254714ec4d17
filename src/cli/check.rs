//! `portcullis check`: is this configuration good? Nothing is started and nothing is written.
//!
//! What must never happen in here: "ok" for what `run` would refuse. Both go through [`config::load`] and try the login page.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::{config, server};

/// What `portcullis check` is asked.
#[derive(clap::Args, Clone, Debug)]
pub struct Check {
    /// The configuration to look at.
    #[arg(long, short, value_name = "FILE", default_value = "proxy.yaml", env = "PORTCULLIS_CONFIG")]
    pub config: PathBuf,
}

/// Prints `FILE: ok`, or every error. Exit code 0 or 1; also 1 if nothing can be printed.
pub fn run(args: &Check) -> ExitCode {
    match report(args, &config::environment, &mut io::stdout().lock(), &mut io::stderr().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

/// Whether it is good. Errors and warnings go to `err`, one a line.
fn report(
    args: &Check,
    env: &dyn Fn(&str) -> Option<String>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<bool> {
    match config::load(&args.config, env) {
        Ok(config) => {
            for warning in &config.warnings {
                writeln!(err, "warning: {warning}")?;
            }
            if let Err(error) = server::login_page(&config) {
                writeln!(err, "{error}")?;
                return Ok(false);
            }
            writeln!(out, "{}: ok", args.config.display())?;
            Ok(true)
        }
        Err(errors) => {
            writeln!(err, "{errors}")?;
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said about this text, and whether it is good.
    fn check(text: &str) -> (bool, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("proxy.yaml");
        std::fs::write(&config, text).unwrap();
        std::fs::write(folder.path().join("users.yaml"), "").unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let good = report(&Check { config }, &|_| None, &mut out, &mut err).unwrap();
        let relative =
            |said: Vec<u8>| String::from_utf8(said).unwrap().replace(&format!("{}/", folder.path().display()), "");
        (good, relative(out), relative(err))
    }

    #[test]
    fn a_good_file_is_ok_whatever_is_odd_about_it() {
        let (good, out, err) = check("listen: 0.0.0.0:8080\nupstream: http://a\nusers: users.yaml\n");
        assert!(good);
        assert_eq!(out, "proxy.yaml: ok\n");
        assert!(err.starts_with("warning: proxy.yaml:1:9: listen: "), "{err}");
    }

    #[test]
    fn the_login_page_is_tried() {
        let own = tempfile::tempdir().unwrap();
        let template = own.path().join("page.html");
        let config = |more: &str| {
            let own = own.path().display();
            format!(
                "listen: 127.0.0.1:1\nupstream: http://a\nusers: users.yaml\nlogin_page: {{ {more}: {own}/page.html }}\n"
            )
        };
        std::fs::write(&template, "<form>\n{{ usrname }}").unwrap();
        let (good, _, err) = check(&config("template"));
        assert!(!good && err.contains("page.html:2: undefined value"), "{err}");
        std::fs::write(&template, " ".repeat(64 * 1024 + 1)).unwrap();
        let (good, _, err) = check(&config("stylesheet"));
        assert!(!good && err.contains("is larger than 64 KiB"), "{err}");
        std::fs::remove_file(&template).unwrap();
        let (good, _, err) = check(&config("stylesheet"));
        assert!(!good && err.contains("there is no such file"), "{err}");
    }

    #[test]
    fn every_error_is_printed() {
        let (good, out, err) = check("listen: x\nupstream: y\nusers: none.yaml\n");
        assert!(!good);
        assert_eq!(out, "");
        let places: Vec<&str> = err.lines().filter_map(|line| line.split(": ").next()).collect();
        assert_eq!(places, ["proxy.yaml:1:9", "proxy.yaml:2:11", "proxy.yaml:3:8"]);
    }
}
