//! `weirbench provider | load | compare | fleet`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
