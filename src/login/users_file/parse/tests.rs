//! What is understood, and what is complained of, where and how.

use super::*;

const HASH: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
const BCRYPT: &str = "$2y$04$EGdrhbKUv8Oc9vGiXX0HQOxSg445d458Muh7DAHskb6QbtCvdxcie";

fn read(text: &str) -> Result<Users, Problem> {
    parse(&text.replace("HASH", HASH).replace("BCRYPT", BCRYPT), &HashLimits::default())
}

fn names(users: &Users) -> Vec<&str> {
    users.entries().keys().map(String::as_str).collect()
}

#[test]
fn yaml() {
    let users = read(
        "# who may log in\n\
         demo:\n  password: HASH\n  roles: [user, 'on call']\n  scopes:\n    - read:all\n\
         \"jörg: the 2nd\":\n  password: 'BCRYPT'\n\
         007: { password: \"HASH\", roles: [] }\n\
         null: { password: BCRYPT }\n",
    )
    .unwrap();
    assert_eq!(names(&users), ["007", "demo", "jörg: the 2nd", "null"]);
    let demo = users.get("demo").unwrap();
    assert_eq!(demo.password.as_str(), HASH);
    assert_eq!(demo.roles, ["user", "on call"]);
    assert_eq!(demo.scopes, ["read:all"]);
    assert!(users.get("007").unwrap().roles.is_empty());
    assert_eq!(names(&read("{}\n").unwrap()), [""; 0], "nobody, on purpose");
}

#[test]
fn htpasswd() {
    let users =
        read("# made by htpasswd -B\n\ndemo:BCRYPT\r\njohn doe:BCRYPT:of the third floor: left\nann:HASH\n").unwrap();
    assert_eq!(names(&users), ["ann", "demo", "john doe"]);
    assert!(users.entries().values().all(|entry| entry.roles.is_empty() && entry.scopes.is_empty()));
    assert_eq!(users.get("demo").unwrap().password.as_str(), BCRYPT);
}

#[test]
fn the_two_shapes_are_told_apart() {
    for yaml in ["", "# x\n", "a:\n  password: x", "a: {}", "{}", "'a:b': {}", "urn:a:\n  x", "---\na:", "hello"] {
        assert_eq!(format_of(yaml), Format::Yaml, "{yaml:?}");
    }
    for htpasswd in ["a:$2y$", "# a: b\n\na:$apr1$x", "a:plain", "a b:{SHA}x"] {
        assert_eq!(format_of(htpasswd), Format::Htpasswd, "{htpasswd:?}");
    }
}

#[test]
fn complaints_say_where_and_what_instead() {
    let cases: &[(&str, Option<(usize, usize)>, &str)] = &[
        ("", None, "write `{}`"),
        ("# nobody\n---\n", None, "portcullis user add"),
        ("hello", Some((1, 1)), "a map from user names"),
        ("demo:\n  password: HASH\n  pasword: x\n", Some((3, 3)), "unknown key `pasword`; the keys are"),
        ("demo:\n  password: HASH\n  password: HASH\n", Some((3, 3)), "`password` is there twice"),
        ("demo:\n  password: HASH\ndemo:\n  password: HASH\n", Some((3, 1)), "\"demo\" is there twice"),
        ("demo:\n  roles: [a]\n", Some((2, 3)), "no `password`"),
        ("demo:\n  password: hunter2\n", Some((2, 13)), "user passwd NAME"),
        ("demo: HASH\n", Some((1, 7)), "indented under"),
        ("demo:\n  password: HASH\n  roles: admin\n", Some((3, 10)), "`roles: [one, two]`"),
        ("demo:\n  password: HASH\n  roles: [a, 'b,c']\n", Some((3, 14)), "without commas"),
        ("demo:\n  password: HASH\n  roles:\n  - a\n  - \"b\\nc\"\n", Some((5, 5)), "control characters"),
        ("demo:\n  password: HASH\n  scopes: [a b]\n", Some((3, 12)), "RFC 6749"),
        ("'a,b':\n  password: HASH\n", Some((1, 1)), "without commas"),
        ("demo:\n\tpassword: HASH\n", Some((2, 1)), "tab"),
        ("demo:BCRYPT\nann:$apr1$x$y\n", Some((2, 5)), "md5 hashes are too weak; write"),
        ("demo:BCRYPT\nann:{SHA}x\n", Some((2, 5)), "sha1"),
        ("demo:BCRYPT\nann:hunter2\n", Some((2, 5)), "plain passwords"),
        ("demo:BCRYPT\nann\n", Some((2, 1)), "`name:hash`"),
        ("demo:BCRYPT\ndemo:BCRYPT\n", Some((2, 1)), "twice"),
        ("demo:BCRYPT\n:BCRYPT\n", Some((2, 1)), "1 to 256"),
    ];
    for (text, position, expected) in cases {
        let problem = read(text).expect_err(text);
        assert!(problem.text.contains(expected), "{text:?}: {problem:?}");
        assert_eq!(problem.position, *position, "{text:?}: {problem:?}");
        assert!(!problem.text.contains("hunter2") && !problem.text.contains("c29tZXNhbHQ"), "{problem:?}");
        assert!(!problem.text.contains("at line"), "{problem:?}");
    }
}

#[test]
fn a_file_that_would_make_rejecting_costly_is_refused() {
    let text: String = (1..=9)
        .map(|passes| format!("u{passes}:\n  password: {}\n", HASH.replace("t=2", &format!("t={passes}"))))
        .collect();
    let problem = read(&text).unwrap_err();
    assert!(problem.text.contains("9 different kinds"), "{problem:?}");
    assert!(read(text.rsplit_once("\nu9:").unwrap().0).is_ok());
}

#[test]
fn aliases_cannot_blow_up_a_file() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(", "));
    }
    assert!(read(&text).is_err());
}
