// Numbers as `tostring` shows them: whole floats without a fraction (lua-core.md §2.1).

import { numberText as textOf } from '../../runtime/base/number-text.ts'
import { Float } from '../../runtime/base/value.ts'

/** ASCII. */
export function numberText(number: number | bigint | Float): string {
  if (typeof number === 'bigint') return String(number)
  return textOf(number instanceof Float ? number.value : number)
}
