import { expect, test } from 'vitest'
import { LatestWins } from '../../cluster/latest-wins.ts'

class Work {
  begun = 0
  active = 0
  readonly #ends: ((failed: boolean) => void)[] = []
  readonly latest = new LatestWins(async () => {
    const number = ++this.begun
    this.active++
    expect(this.active).toBe(1)
    const failed = await new Promise<boolean>((end) => this.#ends.push(end))
    this.active--
    if (failed) throw new Error(`run ${number}`)
    return number
  })

  async end(failed = false): Promise<void> {
    this.#ends.shift()?.(failed)
    for (let i = 0; i < 10; i++) await undefined
  }
}

test('calls that overlap share one run that begins after the one under way', async () => {
  const work = new Work()
  const answers = [work.latest.run(), work.latest.run(), work.latest.run()]
  expect(work.begun).toBe(1)
  await work.end()
  expect(work.begun).toBe(2)
  answers.push(work.latest.run())
  await work.end()
  await work.end()
  expect(await Promise.all(answers)).toEqual([1, 2, 2, 3])
})

test('each call without another one is a run of its own', async () => {
  const work = new Work()
  for (const expected of [1, 2, 3]) {
    const answer = work.latest.run()
    await work.end()
    expect(await answer).toBe(expected)
  }
})

test('a run that fails fails for whoever asked for it, and not for the next', async () => {
  const work = new Work()
  const first = work.latest.run().catch(String)
  const second = work.latest.run()
  await work.end(true)
  await work.end()
  expect([await first, await second]).toEqual(['Error: run 1', 2])
})
