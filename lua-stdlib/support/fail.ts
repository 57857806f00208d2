// What fallible functions return: `nil, err` with an error object (lua-core.md §1, §12).

import { toBytes } from '../../runtime/base/bytes.ts'
import type { ErrorKind, MoonmeshError } from '../../runtime/base/errors.ts'
import { errorFrom } from '../../runtime/base/plain.ts'
import { ErrorValue, type TableValue } from '../../runtime/base/value.ts'
import { ErrorObject, type LuaValue } from '../../runtime/lua/engine.ts'

/** An error object. `message` is text. */
export function errorObject(
  kind: ErrorKind,
  message: string,
  options: { retryable?: boolean; details?: TableValue } = {},
): ErrorObject {
  return new ErrorObject(new ErrorValue(kind, toBytes(message), options.retryable, options.details))
}

/** `nil, err`. Unless said otherwise a refusal for an invalid or unknown thing is not worth a retry. */
export function fail(
  kind: ErrorKind,
  message: string,
  options: { retryable?: boolean; details?: TableValue } = { retryable: false },
): readonly LuaValue[] {
  return [undefined, errorObject(kind, message, options)]
}

/** `nil, err` for a failure of the runtime. */
export function failWith(error: MoonmeshError | ErrorValue): readonly LuaValue[] {
  return [undefined, new ErrorObject(errorFrom(error))]
}

/** `true, nil`. */
export const TRUE_NIL: readonly LuaValue[] = [true, undefined]
