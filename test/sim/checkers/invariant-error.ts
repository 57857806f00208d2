// What a checker throws when a promise is broken.

export class InvariantError extends Error {
  override readonly name = 'InvariantError'
}
