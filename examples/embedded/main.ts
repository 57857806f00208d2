// A program of your own with a node in it: actors in TypeScript and in Lua that talk to each other.

import { createNode, defineActor } from 'moonmesh'

/** What a visitor sends with the topic "format". Messages come from anywhere: look at them before you trust them. */
interface FormatRequest {
  amount: number
  country: string
}

function isFormatRequest(value: unknown): value is FormatRequest {
  const { amount, country } = (value ?? {}) as Partial<FormatRequest>
  return typeof amount === 'number' && typeof country === 'string'
}

// An actor is an async function. Its inbox is its mailbox; it ends when the function returns, and fails when it throws.
const formatter = defineActor('formatter', async (self) => {
  await self.register('formatter')
  for await (const { from, value } of self.inbox) {
    if (!isFormatRequest(value)) throw new Error('expected { amount, country }')
    const text = new Intl.NumberFormat(value.country, { minimumFractionDigits: 2 }).format(value.amount)
    await self.send(from, 'formatted', text)
  }
})

// What the function returns is the actor's result.
const adder = defineActor('adder', (_self, a: number, b: number) => a + b)

const node = await createNode({ app: 'app.yaml', log: false })
await node.start()
try {
  node.define(adder) // by its name, "actor:adder", Lua can spawn it
  await node.spawn(formatter)

  // exec spawns a process, waits for its end and gives its result as plain data.
  const result = await node.exec('embedded:visitor', {
    host: 'embedded:processes',
    args: [1234567.5, ['en-US', 'de-DE', 'en-IN']],
  })
  console.log(result)
} finally {
  await node.stop()
}
