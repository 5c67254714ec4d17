//! `portcullis`: parse arguments, hand over, turn an error into an exit code.

fn main() -> std::process::ExitCode {
    portcullis::cli::main()
}
