// What the callers in JavaScript share: one question for all vendors' languages, asked at the same time.
import assert from 'node:assert/strict'
import { z } from 'zod'

export const { url, key, languages } = JSON.parse(process.env.WEIR_TESTS)
export const TEXT = 'The water behind the boards rises slowly until someone lifts one and'
export const SENTENCE = 'The water behind'
export const NAME = 'get_weather'
export const ABOUT = 'Tells the weather.'
export const City = z.object({ city: z.string(), days: z.number() })
export const SCHEMA = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer' } },
  required: ['city'],
}

/** Runs `ask(language)` for every vendor's language, and tells all that fail. */
export async function each(ask) {
  const outcomes = await Promise.allSettled(languages.map(ask))
  const failures = outcomes.flatMap(({ status, reason }, at) =>
    status === 'rejected' ? [`${languages[at]}: ${String(reason?.stack ?? reason).slice(0, 900)}`] : [],
  )
  assert.deepEqual(failures, [], failures.join('\n'))
}

export async function raises(kind, call) {
  let error
  try {
    await call()
  } catch (failure) {
    error = failure
  }
  assert.ok(error instanceof kind, `${error?.constructor?.name ?? 'nothing'} instead of ${kind.name}: ${error}`)
  return error
}

export async function all(stream) {
  const items = []
  for await (const item of stream) items.push(item)
  return items
}

/** The arguments of a call, as an object or as text. */
export function right(given) {
  const { city, days } = typeof given === 'string' ? JSON.parse(given) : given
  assert.ok(days === 3 && city.startsWith('The'), JSON.stringify(given))
}

export const same = assert.deepEqual
export { assert }
