// Patterns of a schema: ECMAScript's, as far as they need no backtracking (RE2), so that none can take longer than the text is long.

import { RE2JS } from 're2js'
import { messageOf } from '../../../runtime/base/errors.ts'
import type { Meter } from './meter.ts'
import { SchemaError } from './schema.ts'

const LENGTH_MAX = 64 * 1024

/** General categories that RE2 knows by their short names only. https://unicode.org/reports/tr44/#General_Category_Values */
const CATEGORIES: Readonly<Record<string, string>> = {
  Letter: 'L',
  Uppercase_Letter: 'Lu',
  Lowercase_Letter: 'Ll',
  Titlecase_Letter: 'Lt',
  Modifier_Letter: 'Lm',
  Other_Letter: 'Lo',
  Mark: 'M',
  Nonspacing_Mark: 'Mn',
  Spacing_Mark: 'Mc',
  Enclosing_Mark: 'Me',
  Number: 'N',
  Decimal_Number: 'Nd',
  Letter_Number: 'Nl',
  Other_Number: 'No',
  Punctuation: 'P',
  Connector_Punctuation: 'Pc',
  Dash_Punctuation: 'Pd',
  Open_Punctuation: 'Ps',
  Close_Punctuation: 'Pe',
  Initial_Punctuation: 'Pi',
  Final_Punctuation: 'Pf',
  Other_Punctuation: 'Po',
  Symbol: 'S',
  Math_Symbol: 'Sm',
  Currency_Symbol: 'Sc',
  Modifier_Symbol: 'Sk',
  Other_Symbol: 'So',
  Separator: 'Z',
  Space_Separator: 'Zs',
  Line_Separator: 'Zl',
  Paragraph_Separator: 'Zp',
  Other: 'C',
  Control: 'Cc',
  Format: 'Cf',
}

/** `\p{Letter}`, `\p{gc=Letter}` and `\p{Script=Greek}` as RE2 writes them. Escaped backslashes come in pairs. */
function withShortClasses(source: string): string {
  return source.replace(/\\(?:([pP])\{(?:(?:General_Category|gc|Script|sc)=)?(\w+)\}|.)/gs, (whole, p, name) =>
    p === undefined ? whole : `\\${p}{${Object.hasOwn(CATEGORIES, name) ? CATEGORIES[name] : name}}`,
  )
}

interface LinearPattern {
  /** @throws SchemaError when the work is used up */
  test(text: string): boolean
  /** The source: patterns with one text are the same for the validator. */
  toString(): string
}

/** @throws SchemaError */
export function linearPattern(source: string, meter: Meter): LinearPattern {
  if (source.length > LENGTH_MAX)
    throw new SchemaError(`invalid schema: pattern is longer than ${LENGTH_MAX} characters`)
  let compiled: RE2JS
  try {
    compiled = RE2JS.compile(RE2JS.translateRegExp(withShortClasses(source)))
  } catch (thrown) {
    throw new SchemaError(`invalid schema: bad pattern ${JSON.stringify(source)}: ${messageOf(thrown)}`)
  }
  const workPerCharacter = (1 + compiled.programSize() / 16) / 8
  return {
    test: (text) => {
      meter.spend(1 + text.length * workPerCharacter)
      return compiled.test(text)
    },
    toString: () => source,
  }
}
