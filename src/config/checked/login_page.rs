//! The page where people log in.

use std::path::PathBuf;

/// `login_page`: where browsers without a session are sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoginPage {
    /// Nowhere: they get a 401.
    Off,
    /// To a page of ours, at the path of the login.
    Own(LoginForm),
    /// `url`: to a page of the app's own. A path of this host, or an absolute URL.
    Url(String),
}

/// What a page of ours is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LoginForm {
    /// `title`: the heading. Default "Log in".
    pub title: Option<String>,
    /// `text`: a paragraph below it. Default: none.
    pub text: Option<String>,
    /// `logo`: an image above it. Default: none.
    pub logo: Option<Logo>,
    /// `stylesheet`: CSS that follows ours. Default: none.
    pub stylesheet: Option<PathBuf>,
    /// `template`: a template in place of ours. Default: none.
    pub template: Option<PathBuf>,
}

/// An image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logo {
    /// The file.
    pub file: PathBuf,
    /// Its media type, as its name says.
    pub media_type: &'static str,
}
