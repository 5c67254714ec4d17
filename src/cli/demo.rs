//! `portcullis demo`: everything made up, so that somebody can try it in a minute.
//!
//! What it makes is what `portcullis run` takes, and stays in a folder, to be looked at and copied from.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::login::password::PasswordHash;
use crate::{config, server, telemetry};

/// Arguments of `portcullis demo`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The app to stand in front of.
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    upstream: String,
    /// Where clients connect.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where metrics and health are.
    #[arg(long, default_value = "127.0.0.1:9911")]
    admin: SocketAddr,
    /// How long an access token lives: 1s to 1h. Short ones let one watch the renewal.
    #[arg(long, default_value = "15m")]
    access_lifetime: String,
    /// Refresh cookies without `Secure` and `__Host-`, for browsers that drop such cookies over plain http (Safari).
    #[arg(long)]
    insecure_cookies: bool,
    /// Where the configuration, the users, the keys and the sessions of the demo are kept.
    #[arg(long, default_value = "run/demo")]
    folder: PathBuf,
}

/// Who may log in: name, password and role. Loopback only, and nobody's secret.
const USERS: [(&str, &str, &str); 2] = [("demo", "demo", "user"), ("root", "root", "admin")];

/// Runs the demo until it is told to stop.
pub fn run(args: &Args) -> ExitCode {
    if !args.listen.ip().is_loopback() {
        return super::fail(&"the demo has a password that everybody knows: give --listen a loopback address");
    }
    let (_guard, logs) = match telemetry::init_log(&telemetry::LogOptions::new("warn")) {
        Ok(set_up) => set_up,
        Err(error) => return super::fail(&error),
    };
    let path = args.folder.join("proxy.yaml");
    if let Err(error) = furnish(args, &path) {
        return super::fail(&format!("{}: {error}", args.folder.display()));
    }
    let named = path.clone();
    let read = move || config::load(&named, &config::environment);
    let config = match read() {
        Ok(config) => config,
        Err(errors) => return super::fail(&errors),
    };
    match server::run(config, server::Start::Fresh, Arc::new(read), logs, || print!("{}", story(args, &path))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(&error),
    }
}

/// Writes the configuration and, the first time, the users.
fn furnish(args: &Args, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    fs::create_dir_all(&args.folder)?;
    fs::write(path, proxy_yaml(args))?;
    let users = args.folder.join("users.yaml");
    if !users.exists() {
        let mut text = String::new();
        for (name, password, role) in USERS {
            let hash = PasswordHash::make(password.as_bytes())?;
            text += &format!("{name}:\n  password: {}\n  roles: [{role}]\n", hash.as_str());
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(users)?;
        file.write_all(text.as_bytes())?;
    }
    Ok(())
}

fn proxy_yaml(args: &Args) -> String {
    let Args { upstream, listen, admin, access_lifetime, insecure_cookies, .. } = args;
    format!(
        "\
# Made by `portcullis demo`, anew at each start.
listen: {listen}
admin: {{ listen: \"{admin}\" }}
users: users.yaml
store: embedded
access_token: {{ lifetime: {access_lifetime} }}
development: {{ insecure_cookies: {insecure_cookies} }}
upstreams:
  app: {{ servers: [{upstream}] }}
routes:
  - {{ name: app, upstream: app }}
  - {{ name: assets, path_prefix: /assets/, upstream: app, auth: public }}
  - {{ name: single-page, path_prefix: /app, upstream: app, auth: public }}
  - {{ name: admin, path_prefix: /admin, upstream: app, roles: [admin] }}
"
    )
}

/// What to try, in the order in which it makes sense.
fn story(args: &Args, path: &Path) -> String {
    let Args { listen, admin, upstream, .. } = args;
    format!(
        r#"
Open http://{listen}/app/

User: demo   Password: demo   (and root/root, who has the role admin)
Portcullis stands in front of an app that has no login, on {upstream}
Configuration: {path}

The life of a token, in another terminal:

  P=http://{listen}

  curl -i $P/                          # 401: no token
  curl -i $P/assets/app.css            # 200: this path is public

  curl -i -c jar -d 'username=demo&password=demo' $P/login      # 200: tokens
  cp jar oldjar
  T=$(curl -s -b jar -c jar -X POST $P/refresh | python3 -c 'import json,sys; print(json.load(sys.stdin)["access_token"])')

  curl -i -H "Authorization: Bearer $T" $P/        # 200: the app says hello to demo
  curl -i -H "Authorization: Bearer $T" -H 'X-Auth-Subject: root' $P/whoami    # 200: still demo
  curl -i -H "Authorization: Bearer $T" $P/admin   # 403: demo is not admin
  curl -i -H "Authorization: Bearer $T" $P/userinfo

  curl -i -b jar -c jar -X POST $P/refresh         # 200: a new token
  curl -i -b jar -c jar -X POST $P/logout          # 204: the session has ended
  curl -i -H "Authorization: Bearer $T" $P/        # 401: and its access token with it
  curl -i -b oldjar -X POST $P/refresh             # 400: and its refresh tokens too

  curl -s http://{admin}/metrics | grep ^portcullis_

Ctrl-C ends it.
"#,
        path = path.display(),
    )
}
