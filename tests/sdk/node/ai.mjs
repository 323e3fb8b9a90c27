// Vercel's AI SDK, through each of its providers, in front of vendors of all languages.
import { createAnthropic } from '@ai-sdk/anthropic'
import { createGoogleGenerativeAI } from '@ai-sdk/google'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { APICallError, Output, generateText, isStepCount, streamText, tool } from 'ai'
import { ABOUT, City, NAME, TEXT, assert, each, key, raises, right, same, url } from './pairs.mjs'

const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: key })
const anthropic = createAnthropic({ baseURL: `${url}/v1`, apiKey: key })
const google = createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey: key })
const compatible = createOpenAICompatible({ name: 'weir', baseURL: `${url}/v1`, apiKey: key, includeUsage: true, supportsStructuredOutputs: true })
const providers = {
  chat: (model) => openai.chat(model),
  // What is stored with a vendor of another language cannot be asked for again, so nothing is.
  responses: (model) => openai.responses(model),
  messages: (model) => anthropic(model),
  generate: (model) => google(model),
  compatible: (model) => compatible(model),
}
const options = {
  maxRetries: 0,
  // As for Anthropic's current models; a name that it does not know makes the SDK force a lone tool in place of a format.
  providerOptions: { openai: { store: false }, anthropic: { structuredOutputMode: 'outputFormat' } },
}
// Whoever shows thoughts again asks for them: Anthropic refuses the one without the other.
const thinking = {
  maxRetries: 0,
  providerOptions: {
    openai: { store: false, reasoningEffort: 'low', forceReasoning: true },
    anthropic: { thinking: { type: 'enabled', budgetTokens: 1024 } },
    google: { thinkingConfig: { includeThoughts: true, thinkingBudget: 1024 } },
  },
}

/** Each provider with each vendor's language. */
const every = (ask) =>
  each(async (language) => {
    for (const [name, model] of Object.entries(providers)) {
      try {
        await ask((scenario) => model(`pair-${language}-${scenario}`), language, name)
      } catch (error) {
        error.message = `as ${name}: ${error.message}`
        error.stack = `as ${name}: ${error.stack}`
        throw error
      }
    }
  })

export const unary = () =>
  every(async (model) => {
    const { text, finishReason, usage } = await generateText({ model: model('text'), prompt: 'hi', system: 'Be kind.', ...options })
    same([text, finishReason, usage.inputTokens, usage.outputTokens], [TEXT, 'stop', 100, 50])
  })

export const stream = () =>
  every(async (model) => {
    const result = streamText({ model: model('text'), prompt: 'hi', onError: () => {}, ...options })
    let text = ''
    for await (const delta of result.textStream) text += delta
    const usage = await result.usage
    same([text, await result.finishReason, usage.inputTokens, usage.outputTokens], [TEXT, 'stop', 100, 50])
  })

/** Two steps: the calls are run here, and their results go back to the model. */
export const withTools = () =>
  every(async (model) => {
    const given = []
    const execute = async (input) => {
      given.push(input)
      return 'sunny'
    }
    const tools = { [NAME]: tool({ description: ABOUT, inputSchema: City, execute }) }
    const { steps } = await generateText({ model: model('agent'), prompt: 'hi', tools, stopWhen: isStepCount(2), ...thinking })
    same([steps.length, steps[0].finishReason, given.length], [2, 'tool-calls', 4])
    given.forEach(right)
    const streamed = streamText({ model: model('agent'), prompt: 'hi', tools, stopWhen: isStepCount(2), onError: () => {}, ...thinking })
    await streamed.consumeStream()
    same([(await streamed.steps).length, given.length], [2, 8])
  })

export const structured = () =>
  every(async (model) => {
    const { output } = await generateText({ model: model('json'), prompt: 'hi', output: Output.object({ schema: City }), ...options })
    right(output)
  })

export const errors = () =>
  every(async (model) => {
    const ask = (scenario) => generateText({ model: model(scenario), prompt: 'hi', ...options })
    same((await raises(APICallError, () => ask('refusing'))).statusCode, 400)
    const limited = await raises(APICallError, () => ask('limited'))
    same([limited.statusCode, limited.isRetryable, limited.responseHeaders['retry-after']], [429, true, '1'])
    let told
    const broken = streamText({ model: model('broken'), prompt: 'hi', onError: ({ error }) => (told = error), ...options })
    for await (const _ of broken.textStream);
    assert.ok(told, 'a stream that breaks is no success')
  })
