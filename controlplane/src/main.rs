fn main() -> std::process::ExitCode {
    weirctl::main()
}
