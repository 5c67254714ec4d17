//! Apps that people run, each in a process of its own.

use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{Account, client, eventually, free_port};

/// The legacy app of the demo.
pub struct LegacyApp {
    /// Where it listens.
    pub url: String,
    _process: Child,
}

impl LegacyApp {
    /// Starts it.
    pub async fn start() -> LegacyApp {
        let port = free_port();
        let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "demo/legacy/app.py"].iter().collect();
        let process = quiet(Command::new("python3").arg(script).args(["--port", &port.to_string()]));
        let url = format!("http://127.0.0.1:{port}");
        answers(&url).await;
        LegacyApp { url, _process: process }
    }
}

/// Radicale, a calendar server, as it comes from its packagers. It believes `X-Remote-User`.
pub struct Radicale {
    /// Where it listens.
    pub url: String,
    _folder: TempDir,
    _process: Child,
}

impl Radicale {
    /// Starts it with an empty collection folder.
    pub async fn start() -> Radicale {
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_port();
        let config = folder.path().join("config");
        let text = format!(
            "[server]\nhosts = 127.0.0.1:{port}\n[auth]\ntype = http_x_remote_user\n[rights]\ntype = owner_only\n\
             [storage]\nfilesystem_folder = {}\n[web]\ntype = none\n[logging]\nlevel = error\n",
            folder.path().join("collections").display()
        );
        std::fs::write(&config, text).expect("its configuration is written");
        let process = quiet(Command::new("radicale").arg("--config").arg(config));
        let url = format!("http://127.0.0.1:{port}");
        answers(&url).await;
        Radicale { url, _folder: folder, _process: process }
    }
}

/// The admin site of Django, as it comes from its packagers: sessions, forms and CSRF tokens of its own.
pub struct DjangoAdmin {
    /// Where it listens.
    pub url: String,
    folder: TempDir,
    _process: Child,
}

/// What `startproject` writes, as far as the admin site needs it.
const DJANGO_SETTINGS: &str = r#"
import os
SECRET_KEY = "only for tests"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "site_urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(os.path.dirname(__file__), "db")}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
STATIC_URL = "/static/"
LOGGING = {"version": 1, "loggers": {name: {"level": "CRITICAL"} for name in ("django", "django.server")}}
INSTALLED_APPS = ["django.contrib." + app for app in ("admin", "auth", "contenttypes", "sessions", "messages")]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": ["django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth", "django.contrib.messages.context_processors.messages"]},
}]
"#;

const DJANGO_URLS: &str = r#"
from django.contrib import admin
from django.urls import path
urlpatterns = [path("admin/", admin.site.urls)]
"#;

impl DjangoAdmin {
    /// Starts it with one user who may do everything.
    pub async fn start(user: &Account) -> DjangoAdmin {
        let folder = TempDir::new().expect("a temporary folder");
        for (name, text) in [("site_settings.py", DJANGO_SETTINGS), ("site_urls.py", DJANGO_URLS)] {
            std::fs::write(folder.path().join(name), text).expect("its settings are written");
        }
        let django = |arguments: &[&str]| {
            let mut command = Command::new("django-admin");
            command.args(arguments).arg("--settings=site_settings").arg("--pythonpath").arg(folder.path());
            command
        };
        let to_its_end = async |arguments: &[&str]| {
            let mut command = django(arguments);
            command.env("DJANGO_SUPERUSER_PASSWORD", user.password);
            let status = quiet(&mut command).wait().await.expect("it ends");
            assert!(status.success(), "django-admin {arguments:?}");
        };
        to_its_end(&["migrate", "--verbosity=0"]).await;
        to_its_end(&["createsuperuser", "--noinput", "--username", user.name, "--email", "a@example.com"]).await;
        let port = free_port();
        let process = quiet(&mut django(&["runserver", "--noreload", "--nothreading", &format!("127.0.0.1:{port}")]));
        let url = format!("http://127.0.0.1:{port}");
        answers(&url).await;
        DjangoAdmin { url, folder, _process: process }
    }

    /// How many sessions it has.
    pub fn sessions(&self) -> usize {
        let script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('select count(*) from django_session').fetchone()[0])";
        let database = self.folder.path().join("db");
        let output = std::process::Command::new("python3").args(["-c", script]).arg(database).output();
        let output = String::from_utf8(output.expect("python runs").stdout).expect("a number");
        output.trim().parse().unwrap_or_else(|_| panic!("no number: {output:?}"))
    }
}

fn quiet(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{:?} does not start ({error}): `make deps` installs it", command.as_std().get_program())
        })
}

async fn answers(url: &str) {
    eventually("the app answers", async || client().get(url).send().await.ok()).await;
}
