// Runs every exported function of one module and says of each, in a line of JSON, how it ended.
const cases = await import(new URL(process.argv[2], import.meta.url))
for (const [name, run] of Object.entries(cases)) {
  let failure = null
  try {
    await run()
  } catch (error) {
    failure = String(error?.stack ?? error)
  }
  console.log(JSON.stringify({ name, failure }))
}
process.exit(0)
