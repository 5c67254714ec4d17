//! The login page of the configuration, with the files that it is made of.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::StartError;
use crate::config::{self, Config};
use crate::endpoints::{LoginPage, LoginPageOptions};

/// The login page, if there is one. What is wrong with its files is found here.
pub fn login_page(config: &Config) -> Result<Option<LoginPage>, StartError> {
    let own = LoginPageOptions { login_path: config.endpoints.login.clone(), ..LoginPageOptions::default() };
    let options = match &config.login_page {
        config::LoginPage::Off => return Ok(None),
        config::LoginPage::Url(url) => LoginPageOptions { url: Some(url.clone()), ..own },
        config::LoginPage::Own(form) => LoginPageOptions {
            title: form.title.clone(),
            text: form.text.clone(),
            logo: match &form.logo {
                None => None,
                Some(logo) => Some((logo.media_type, read(&logo.file, fs::read)?)),
            },
            stylesheet: text(form.stylesheet.as_deref())?,
            template: text(form.template.as_deref())?,
            ..own
        },
    };
    Ok(Some(LoginPage::new(options)?))
}

fn text(file: Option<&Path>) -> Result<Option<(String, String)>, StartError> {
    file.map(|file| Ok((file.display().to_string(), read(file, fs::read_to_string)?))).transpose()
}

fn read<T>(file: &Path, how: impl FnOnce(PathBuf) -> std::io::Result<T>) -> Result<T, StartError> {
    how(file.to_owned()).map_err(|source| StartError::LoginPageFile { path: file.to_owned(), source })
}
