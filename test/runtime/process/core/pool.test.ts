import { expect, test } from 'vitest'
import { type Claim, Pool } from '../../../../runtime/process/core/pool.ts'
import { fc } from '../../../tools/property.ts'

class Call implements Claim<number> {
  got: number | undefined | 'nothing' = 'nothing'
  granted(instance: number | undefined): void {
    this.got = instance
  }
}

const lazy = (maxSize: number): Pool<number> => new Pool({ type: 'lazy', workers: 0, maxSize })

test('an instance serves one call at a time; further calls wait in order (lua-core.md §4.2)', () => {
  const pool = lazy(1)
  const [a, b, c] = [new Call(), new Call(), new Call()]
  for (const call of [a, b, c]) pool.claim(call, false)
  expect([a.got, b.got, c.got]).toEqual([undefined, 'nothing', 'nothing'])
  pool.giveBack(7, 0)
  expect([b.got, c.got]).toEqual([7, 'nothing'])
  pool.giveBack(7, 0)
  expect(c.got).toBe(7)
})

test('a call from within a call of the same function never waits', () => {
  const pool = lazy(1)
  pool.claim(new Call(), false)
  const inner = new Call()
  pool.claim(inner, true)
  expect(inner.got).toBe(undefined)
})

test('a call that is withdrawn is passed over', () => {
  const pool = lazy(1)
  const [a, b, c] = [new Call(), new Call(), new Call()]
  for (const call of [a, b, c]) pool.claim(call, false)
  pool.withdraw(b, false)
  expect(pool.waitingCount).toBe(1)
  pool.giveBack(1, 0)
  expect([b.got, c.got]).toEqual(['nothing', 1])
})

test('instances that are idle for long are dropped, those that are not stay', () => {
  const pool = lazy(2)
  pool.claim(new Call(), false)
  pool.claim(new Call(), false)
  pool.giveBack(1, 0)
  pool.giveBack(2, 20)
  pool.dropIdle(30, 30)
  expect(pool.idleCount).toBe(1)
  const next = new Call()
  pool.claim(next, false)
  expect(next.got).toBe(2)
})

test('an instance that is not fit for another call is replaced by a new one', () => {
  const pool = lazy(1)
  const [a, b] = [new Call(), new Call()]
  pool.claim(a, false)
  pool.claim(b, false)
  pool.giveBack(undefined, 0)
  expect(b.got).toBe(undefined)
})

test('however calls come and go, the limit holds and nobody waits while there is room', () => {
  const steps = fc.array(fc.constantFrom('claim', 'nested', 'give', 'lose', 'withdraw'), { maxLength: 60 })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), steps, (sizeMax, plan) => {
      const pool = lazy(sizeMax)
      const waiting: Call[] = []
      let busy = 0
      let nested = 0
      let made = 0
      const settle = (): void => {
        while (waiting[0] !== undefined && waiting[0].got !== 'nothing') {
          waiting.shift()
          busy++
        }
      }
      for (const step of plan) {
        if (step === 'claim' || step === 'nested') {
          const call = new Call()
          waiting.push(call)
          pool.claim(call, step === 'nested')
          if (step === 'nested') {
            expect(call.got).not.toBe('nothing')
            waiting.pop()
            busy++
            nested++
          }
        } else if (step === 'withdraw') {
          const call = waiting.pop()
          if (call !== undefined) pool.withdraw(call, false)
        } else if (busy > 0) {
          busy--
          pool.giveBack(step === 'give' ? ++made : undefined, 0)
        }
        settle()
        expect(busy).toBeLessThanOrEqual(sizeMax + nested)
        if (waiting.length > 0) expect(busy).toBeGreaterThanOrEqual(sizeMax)
      }
    }),
  )
})
