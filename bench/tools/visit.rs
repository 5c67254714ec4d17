//! Visits as browsers make them: over TLS, by HTTP/1.1 and HTTP/2, with bodies, and now and then without a token. Nothing is measured.
//! A binary that is optimised for what it was seen to do must have been seen doing this, too.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::{Certificate, Client, ClientBuilder, StatusCode};

use crate::Outcome;

/// Arguments of `certificate`.
#[derive(clap::Args)]
pub struct NewCertificate {
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
}

/// Arguments of `visit`.
#[derive(clap::Args)]
pub struct Visit {
    to: SocketAddr,
    /// What the server's certificate is signed by, in PEM.
    #[arg(long)]
    certificate: PathBuf,
    /// One token a line.
    #[arg(long)]
    tokens: PathBuf,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

/// Requests on one connection, of which every tenth has a body and every 25th no token.
const REQUESTS: usize = 100;
const BODY_BYTES: usize = 32 * 1024;
const DEADLINE: Duration = Duration::from_secs(30);

/// Makes a certificate for loopback.
pub fn certificate(args: &NewCertificate) -> Outcome {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    fs::write(&args.certificate, made.cert.pem())?;
    Ok(fs::write(&args.key, made.signing_key.serialize_pem())?)
}

/// Comes again and again, by each version of HTTP.
pub fn run(args: &Visit) -> Outcome {
    let authority = Certificate::from_pem(&fs::read(&args.certificate)?)?;
    let client = || Client::builder().no_proxy().timeout(DEADLINE).tls_certs_only([authority.clone()]);
    let text = fs::read_to_string(&args.tokens)?;
    let tokens: Vec<&str> = text.lines().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let began = Instant::now();
        while began.elapsed().as_secs_f64() < args.seconds {
            visit(args.to, client().http1_only(), &tokens).await?;
            visit(args.to, client(), &tokens).await?;
        }
        Ok(())
    })
}

/// One visit: a connection, and what is asked on it.
async fn visit(to: SocketAddr, client: ClientBuilder, tokens: &[&str]) -> Outcome {
    let client = client.build()?;
    for (number, token) in tokens.iter().cycle().take(REQUESTS).enumerate() {
        let url = format!("https://{to}/api/items?page={number}");
        let request = if number % 10 == 9 { client.post(url).body(vec![b'x'; BODY_BYTES]) } else { client.get(url) };
        let (request, expected) = match number % 25 {
            24 => (request, StatusCode::UNAUTHORIZED),
            _ => (request.bearer_auth(token), StatusCode::OK),
        };
        let answer = request.send().await?;
        let status = answer.status();
        answer.bytes().await?;
        if status != expected {
            return Err(format!("request {number} was answered {status}, and not {expected}").into());
        }
    }
    Ok(())
}
