//! `weirbench provider | load | compare`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
