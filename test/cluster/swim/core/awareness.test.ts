import { expect, test } from 'vitest'
import { Awareness } from '../../../../cluster/swim/core/awareness.ts'

test('the score stays between 0 and max - 1, and stretches times (§3.6, Lifeguard IV.A)', () => {
  const awareness = new Awareness(8)
  expect(awareness.scaleMs(1000)).toBe(1000)
  awareness.apply(-1)
  expect(awareness.score).toBe(0)
  awareness.apply(3)
  expect(awareness.scaleMs(1000)).toBe(4000)
  awareness.apply(60)
  expect(awareness.score).toBe(7)
  expect(awareness.scaleMs(1000)).toBe(8000)
})

test('with a maximum of one it is off', () => {
  const awareness = new Awareness(1)
  awareness.apply(5)
  expect(awareness.scaleMs(1000)).toBe(1000)
})
