//! The login page, or the app's own.

use crate::config::checked::{LoginForm, LoginPage, Logo};
use crate::config::files::FileKind;
use crate::config::item::{Item, Table};
use crate::config::{schema, urls};

const ENDINGS: [(&str, &str); 6] = [
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
];

/// `by_default`: is there a page when nothing is said?
pub(super) fn login_page(top: &Table<'_>, by_default: bool, login_path: &str) -> LoginPage {
    let on = |on| if on { LoginPage::Own(LoginForm::default()) } else { LoginPage::Off };
    let Some(item) = top.get("login_page") else { return on(by_default) };
    if !item.is_table() {
        return on(item.true_or_table(schema::LOGIN_PAGE).unwrap_or(by_default));
    }
    let Some(table) = item.table(schema::LOGIN_PAGE) else { return on(by_default) };
    let text = |key, most| table.get(key).and_then(|item| paragraph(item, most));
    let form = LoginForm {
        title: text("title", 100),
        text: text("text", 1000),
        logo: table.get("logo").and_then(logo),
        stylesheet: table.get("stylesheet").and_then(|item| item.file(FileKind::LoginPage)),
        template: table.get("template").and_then(|item| item.file(FileKind::LoginPage)),
    };
    let Some(item) = table.get("url") else { return LoginPage::Own(form) };
    if form != LoginForm::default() {
        item.error(
            "this is a page of your own, and the other keys are for a page of ours; keep `url` alone, or remove it",
        );
    }
    let url = item.parse("an address such as `https://app.example.com/sign-in` or `/sign-in`", urls::page);
    if url.as_deref() == Some(login_path) {
        item.error(format!(
            "{login_path} is where the password is posted to; write where your page is, or remove `url`"
        ));
    }
    url.map_or(LoginPage::Off, LoginPage::Url)
}

/// Text for people.
fn paragraph(item: Item<'_>, most: usize) -> Option<String> {
    item.parse("text", |text| {
        if text.chars().count() > most || text.chars().any(|c| c.is_control() && c != '\n') {
            return Err(format!("cannot stand there; write at most {most} characters, without control characters"));
        }
        Ok(text.trim_end().to_owned())
    })
}

fn logo(item: Item<'_>) -> Option<Logo> {
    let media_type = item.parse("the path of an image", |text| {
        let ending = text.rsplit_once('.').map_or("", |(_, ending)| ending);
        let known = ENDINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending));
        known.map(|(_, media_type)| *media_type).ok_or_else(|| {
            let known: Vec<_> = ENDINGS.iter().map(|(ending, _)| *ending).collect();
            format!("is no image that browsers show; write a file that ends with one of: {}", known.join(", "))
        })
    })?;
    Some(Logo { file: item.file(FileKind::LoginPage)?, media_type })
}
