//! `proxy.yaml` to [`Config`]: everything that can be wrong with it is found before anything starts.
//!
//! [`load`] reads the file and looks at the files it names; [`parse`] looks at the text alone. Both collect all errors they
//! can find, each with line, column, what is wrong, and what to write instead. `proxy.yaml` at the root is the annotated
//! reference.
//!
//! The way: text -> `tree` (a node a value, findable in the text) -> `variables` (keys that the environment overrides) ->
//! `expand` (`${VARIABLES}` in values) -> `read` (a file a group of keys; asks `item`s what they hold) -> [`Config`] -> `files`.
//!
//! A new key: name it in `schema.rs`, ask for it in `read/`, give it a checked type in `checked/`, explain it in `proxy.yaml`.
//! The rest follows: overriding it, and the schema for editors, which is made from the questions that `read/` asks.
//!
//! What must never happen in here: a key that is not known is passed over; a value is bent into something that was not
//! written; a secret shows in a message or in `Debug`.

mod asked;
pub mod checked;
mod context;
mod editors;
mod errors;
mod expand;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod item;
mod names;
mod read;
mod reference;
mod scalars;
mod schema;
#[cfg(test)]
mod tests;
mod tree;
mod urls;
mod variables;

use std::path::Path;

pub use checked::*;
pub use editors::schema as schema_for_editors;
pub use errors::{ConfigError, ConfigErrors, Place, Warning};

use item::{Context, Item};
use variables::Variable;

/// Reads a configuration from the file at `path`, and looks at the files it names: each must be there, and a secret must
/// not be readable by everybody. `env` looks up environment variables; those of this process whose names begin with
/// `PORTCULLIS_` override keys, and if there are any, there need not be a file.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigErrors> {
    load_with(path, env, variables::of_process(env), true)
}

/// Reads a configuration again and again, as [`load`] does. If there was a file at the first look, there has to be one at the
/// others: rules that are gone for a moment must not open a door.
pub fn reader(path: std::path::PathBuf) -> impl Fn() -> Result<Config, ConfigErrors> + Send + Sync {
    let was_there = path.exists();
    move || load_with(&path, &environment, variables::of_process(&environment), !was_there)
}

fn load_with(
    path: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    variables: Vec<Variable>,
    may_be_absent: bool,
) -> Result<Config, ConfigErrors> {
    let read = std::fs::read_to_string(path);
    let is_absent = matches!(&read, Err(why) if why.kind() == std::io::ErrorKind::NotFound);
    let absent = is_absent && may_be_absent && !variables.is_empty();
    let text = match read {
        Err(_) if absent => String::new(),
        read => read.map_err(|why| whole_file(path, format!("this file cannot be read: {why}")))?,
    };
    let cx = Context::new(&text, path, env).with_variables(variables);
    let config = read_text(&cx, absent)?;
    if absent {
        let message = "there is no such file; everything comes from variables that begin with `PORTCULLIS_`".to_owned();
        let place = Place { file: path.to_owned(), line: 0, column: 0, key: String::new() };
        cx.warnings.borrow_mut().push(Warning { place: place.clone(), message: message.clone() });
        if !cx.errors.borrow().is_empty() {
            cx.error(place, message);
        }
    }
    let admin_token = files::check(&cx);
    files::warn_of_open_secrets(&cx);
    let mut config = finish(cx, config)?;
    config.admin.token = admin_token.or(config.admin.token);
    Ok(config)
}

/// An environment variable of this process: what [`load`] is given outside tests. None also if it is not UTF-8.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads a configuration from `text`, as if it stood in the file `origin`. No file is read: what `token_file` holds is missing
/// from the result.
pub fn parse(text: &str, origin: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigErrors> {
    let cx = Context::new(text, origin, env);
    let config = read_text(&cx, false)?;
    finish(cx, config)
}

/// What the text says; errors are noted in `cx`, but for those that leave nothing to read.
fn read_text(cx: &Context<'_>, may_be_empty: bool) -> Result<Option<Config>, ConfigErrors> {
    let mut root = tree::parse(cx.text).map_err(|error| {
        let (line, column) = error.position.unwrap_or((1, 1));
        let place = Place { file: cx.origin.to_owned(), line, column, key: String::new() };
        ConfigErrors(vec![ConfigError { place, message: format!("this cannot be read as YAML: {}", error.message) }])
    })?;
    if matches!(root.value, tree::Value::Null) && !may_be_empty {
        let message = "nothing is in this file; write at least `listen`, `upstream` and `users`".to_owned();
        return Err(whole_file(cx.origin, message));
    }
    variables::apply(cx, &mut root);
    expand::expand(cx, &mut root);
    Ok(read::config(Item { cx, node: &root }))
}

fn finish(cx: Context<'_>, config: Option<Config>) -> Result<Config, ConfigErrors> {
    let mut errors = cx.errors.into_inner();
    // In the order of the file. A table that several checks look into tells its errors to each of them.
    errors.sort();
    errors.dedup();
    let mut warnings = cx.warnings.into_inner();
    warnings.sort();
    warnings.dedup();
    let named = cx.files.into_inner().into_iter().map(|used| used.path);
    let files = std::iter::once(cx.origin.to_owned()).chain(named).collect();
    match config {
        Some(config) if errors.is_empty() => Ok(Config { files, warnings, ..config }),
        _ => Err(ConfigErrors(errors)),
    }
}

fn whole_file(path: &Path, message: String) -> ConfigErrors {
    let place = Place { file: path.to_owned(), line: 0, column: 0, key: String::new() };
    ConfigErrors(vec![ConfigError { place, message }])
}
