//! `portcullis check`: is this configuration good? Nothing is started and nothing is written.
//!
//! What must never happen in here: "ok" for what `run` would refuse. Both go through [`config::load`],
//! and what `run` makes of files is tried.

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
            let found = server::check(&config);
            for error in &found {
                writeln!(err, "{error}")?;
            }
            if found.is_empty() {
                writeln!(out, "{}: ok", args.config.display())?;
            }
            Ok(found.is_empty())
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
        std::fs::write(folder.path().join("users.yaml"), "{}").unwrap();
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
    fn what_is_in_the_files_is_tried_and_all_is_told() {
        use std::os::unix::fs::PermissionsExt;

        let own = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str, mode: u32| {
            let path = own.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write("leaf.pem", "no certificate", 0o644);
        write("leaf.key", "no key", 0o600);
        write("ca.pem", "no authority", 0o644);
        write("keys.jwks", "{}", 0o600);
        write("people.yaml", "ann: { pasword: x }", 0o600);
        let (good, out, err) = check(&format!(
            "listen: {{ address: 127.0.0.1:1, tls: {{ certificate: {0}/leaf.pem, key: {0}/leaf.key }} }}\n\
             users: {0}/people.yaml\nkeys: {{ file: {0}/keys.jwks }}\n\
             store: {{ redis: {{ url: rediss://127.0.0.1:1, ca_file: {0}/ca.pem }} }}\n\
             upstreams: {{ app: {{ servers: [https://app.internal], tls: {{ ca_file: {0}/ca.pem }} }} }}\n\
             routes: [{{ name: app, upstream: app }}]\n",
            own.path().display()
        ));
        assert!(!good && out.is_empty(), "{err}");
        for file in ["leaf.pem", "keys.jwks", "people.yaml:1:", "upstream `app`: ca_file"] {
            assert!(err.contains(file), "{file}: {err}");
        }
        assert!(err.matches("ca.pem").count() == 2 && err.lines().count() == 5, "{err}");
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
