"""Small tools that every part of the SDK uses. Of the SDK, they import only `errors` and `project`."""
